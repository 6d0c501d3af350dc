"""The scan: photos in; masks, records and one result per photo out.

Inputs are opened read-only and hashed before and after. A photo that cannot be scanned becomes a `SkippedImage`; only
what concerns the whole run (no model, no device, no place to write) is raised.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nclforensics.pipelines.examination import Examiner
from nclforensics.pipelines.outputs import (
    RESULTS_FILE,
    RUN_FILE,
    TIMINGS_FILE,
    locked,
    output_names,
    refuse_files,
    refuse_results,
)
from nclforensics.pipelines.records import ScanRecords
from nclforensics.pipelines.resume import clear_leftovers, continued, holds_run, remove_results
from nclforensics.pipelines.run_document import Custody, run_document
from nclforensics.pipelines.scan_engine import LocalEngine

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from nclforensics.config import ScanConfig
    from nclforensics.networks.weights import LoadedModel
    from nclforensics.pipelines.ray_cluster import RaySettings
    from nclforensics.pipelines.ray_engine import RayEngine
    from nclforensics.pipelines.scan_plan import ScanPlan
    from nclforensics.results import Outcome


def scan_images(
    plan: ScanPlan,
    model: LoadedModel,
    config: ScanConfig,
    *,
    custody: Custody | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    ray: RaySettings | None = None,
) -> Generator[Outcome]:
    """Scan the planned images; each result is on disk before it is yielded.

    Args:
        plan: From `plan_scan`.
        model: From `nclforensics.networks.weights.load_model`; its calibrated threshold is used if `config` has none.
        config: Settings.
        custody: Command line, case and operator, for the record.
        should_stop: Asked before each image; once it is true, the scan ends as if interrupted, ready to be resumed.
        ray: Scan on the workers of a Ray cluster; None scans on this machine. The results are the same.

    Raises:
        DeviceUnavailableError: If this machine, or the cluster, does not have the device, or there is no cluster.
        UsageError: If the tile is too small for the network, threshold or region size are no shares, or the scan to be
            resumed was begun with other settings.
        WeightsMismatchError: If the scan to be resumed was begun with other weights.
        OutputError: If a result cannot be written, or would replace one of another scan or a file of somebody else.
        KeyboardInterrupt: If `should_stop` said so.
    """
    engine: LocalEngine | RayEngine
    if ray is None:
        engine = LocalEngine(Examiner(model, config))
    else:
        from nclforensics.pipelines.ray_engine import RayEngine  # noqa: PLC0415 - Ray is an extra

        engine = RayEngine(ray, plan, model, config)
    return _recorded(plan, model, engine, custody or Custody(), should_stop)


def _recorded(
    plan: ScanPlan,
    model: LoadedModel,
    engine: LocalEngine | RayEngine,
    custody: Custody,
    should_stop: Callable[[], bool],
) -> Generator[Outcome]:
    with locked(plan.out), engine:
        # Another scan may have filled the folder since the plan was made; from here on nobody else does.
        if not (plan.replace or (plan.resume and holds_run(plan.out))):
            refuse_results(plan.out)
            refuse_files(plan.out, _files(plan, engine.conditions.config))
        run = {**run_document(plan, model, engine.conditions, custody), "engine": engine.description}
        earlier = None
        if plan.resume:
            run, earlier = continued(run, out=plan.out)
            clear_leftovers(plan, earlier)
        elif plan.replace:
            remove_results(plan)
        with ScanRecords(plan.out, run) as records:
            yield from engine.run(plan, records, earlier, should_stop)
            if earlier is not None:
                earlier.discard()


def _files(plan: ScanPlan, config: ScanConfig) -> Iterator[str]:
    """Yield the names of all files that a scan writes."""
    yield from (RUN_FILE, RESULTS_FILE, TIMINGS_FILE)
    for image in plan.images:
        yield from output_names(image.name, config)
