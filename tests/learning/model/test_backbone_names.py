"""Names of backbones are told from timm's code, without loading it: its own registry says the same."""

import pytest
from timm.models import _registry

from udml.config import backbones
from udml.config.backbones import require_backbone
from udml.errors import UdmlError


def test_every_name_that_timm_knows_is_known() -> None:
    assert backbones.model_names() == set(_registry._model_entrypoints)
    for names in _registry._model_with_tags.values():
        for name in names:
            require_backbone(name)
    require_backbone("googlenet")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("resnet5O", "no model `resnet5O`\n  -> close names: resnet50"),
        ("resnet", "close names: "),
        ("checkpoint_filter_fn", "no model `checkpoint_filter_fn`"),  # a function of timm's that is no model
        ("Resnet50", "resnet50"),
        ("../resnet50", "no model"),
        ("xyzzy", "`timm.list_models\\(\\)` lists them"),
        ("", "lists them"),
        ("resnet50.a1_in1kk", "no weights `a1_in1kk` of `resnet50`\n  -> it knows resnet50.a1_in1k"),
        ("resnet51q.openai", "no weights `openai` of `resnet51q`"),
    ],
)
def test_a_name_that_is_none_is_refused_with_those_like_it(name: str, said: str) -> None:
    with pytest.raises(UdmlError, match=said):
        require_backbone(name)


def test_where_timm_is_not_installed_any_name_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    caches = (backbones.model_names, backbones._tags, backbones._timms_text)
    for cached in caches:
        cached.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(backbones, "find_spec", lambda name: None)
        require_backbone("resnet5O")
    for cached in caches:
        cached.cache_clear()
