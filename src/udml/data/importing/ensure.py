"""Have some data: what is here, what the DVC remote holds, or the built-in sample."""

from pathlib import Path

from udml.config.yaml_file import mapping_at, read_mapping
from udml.data.importing.importer import PLACES, import_data
from udml.data.importing.manifest import MANIFEST_FILE
from udml.data.importing.tracking import pointer_of, run_dvc, said
from udml.errors import UdmlError


def ensure_data(data_root: Path) -> str:
    """Have some data: what is here already, else what the DVC remote holds, else the sample `places`.

    Returns:
        One sentence that says which.

    Raises:
        UdmlError: if the project tracks data of its own that are not here and can't be pulled; the
            sample never replaces them.
    """
    if (data_root / MANIFEST_FILE).exists():
        return f"using the images in {data_root}/"
    project, pointer = data_root.absolute().parent, pointer_of(data_root)
    tracked = read_mapping(pointer) if pointer.exists() else {}
    if tracked and run_dvc(project, "remote", "list").stdout.strip():
        pulled = run_dvc(project, "pull", pointer.name)
        if pulled.returncode == 0:
            return f"pulled the images in {data_root}/ from the DVC remote"
        raise UdmlError(
            f"`dvc pull {pointer.name}` failed: {said(pulled)}", "mend the remote, or import again"
        )
    layout = mapping_at(tracked, "meta").get("layout", PLACES)
    if layout != PLACES:
        raise UdmlError(
            f"{pointer.name} tracks images of layout `{layout}`, they are not here, and no DVC remote is set",
            "`dvc remote add -d NAME URL`, or `udml data import` the folder again",
        )
    import_data(None, None, data_root)
    return f"made the built-in sample `{PLACES}` in {data_root}/ (`udml data import FOLDER` brings your own)"
