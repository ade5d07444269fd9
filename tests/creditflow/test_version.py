import re

from creditflow import version


def test_code_version_covers_every_room_and_only_sources():
    top = version.Path(version.__file__).resolve().parent.parent
    rooms = {path.relative_to(top).parts[0] for path in version._sources(top)}
    assert rooms == set(version.ROOMS)
    assert re.fullmatch(r"[0-9a-f]{12}", version.code_version())
