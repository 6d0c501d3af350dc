"""The scan: photos in; masks, records and one result per photo out.

Inputs are opened read-only and hashed before and after. A photo that cannot be scanned becomes a `SkippedImage`; only
what concerns the whole run (no model, no device, no place to write) is raised.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nclforensics.pipelines.examination import Examiner
from nclforensics.pipelines.outputs import locked
from nclforensics.pipelines.records import ScanRecords
from nclforensics.pipelines.resume import EarlierRecords, clear_leftovers, continued
from nclforensics.pipelines.run_document import Custody, run_document
from nclforensics.pipelines.scan_engine import ScanEngine

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from nclforensics.config import ScanConfig
    from nclforensics.networks.weights import LoadedModel
    from nclforensics.pipelines.scan_plan import ScanPlan
    from nclforensics.results import Outcome


def scan_images(
    plan: ScanPlan,
    model: LoadedModel,
    config: ScanConfig,
    *,
    custody: Custody | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Generator[Outcome]:
    """Scan the planned images; each result is on disk before it is yielded.

    Args:
        plan: From `plan_scan`.
        model: From `nclforensics.networks.weights.load_model`; its calibrated threshold is used if `config` has none.
        config: Settings.
        custody: Command line, case and operator, for the record.
        should_stop: Asked before each image; once it is true, the scan ends as if interrupted, ready to be resumed.

    Raises:
        DeviceUnavailableError: If this machine does not have the device.
        UsageError: If the tile is too small for the network, threshold or region size are no shares, or the scan to be
            resumed was begun with other settings.
        WeightsMismatchError: If the scan to be resumed was begun with other weights.
        OutputError: If a result cannot be written.
        KeyboardInterrupt: If `should_stop` said so.
    """
    examiner = Examiner(model, config)
    run = run_document(plan, model, examiner, custody or Custody())
    return _recorded(plan, examiner, run, should_stop)


def _recorded(
    plan: ScanPlan, examiner: Examiner, run: dict[str, Any], should_stop: Callable[[], bool]
) -> Generator[Outcome]:
    with locked(plan.out), examiner:
        earlier = None
        if plan.resume:
            run, earlier = continued(run, out=plan.out)
            clear_leftovers(plan, earlier)
        elif plan.replace:
            clear_leftovers(plan, replaced := EarlierRecords(plan.out))
            replaced.discard()
        with ScanRecords(plan.out, run) as records:
            yield from ScanEngine(plan, examiner, records, earlier).run(should_stop)
            if earlier is not None:
                earlier.discard()
