"""The study flow: reproduces the study that creditflow grew out of, for schedules and deployments.

By hand: `creditflow study FILE --out study`, which needs no Prefect server.
"""

from pathlib import Path

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from flows.settings import load_settings
from tasks.study import study_file


@flow(name="study", flow_run_name="study-{file}")
def study(file: str, out: str) -> list[str]:
    """Writes `study.html` and `study.json` into the folder `out`; returns their paths."""
    pages = task(name="study", cache_policy=NO_CACHE)(study_file)(Path(file), Path(out), load_settings().seed)
    return [str(page) for page in pages]
