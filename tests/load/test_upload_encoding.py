"""What an org thinks of gzip is believed only after a job has shown it, and can be shown and forgotten."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from emulated_org import Emulator
from faulty_transport import Fault, answers
from staged_samples import SampleWorkspace, close, fresh_keys, make_workspace, stage

from assets.sf_loaded import sf_loaded
from kpc.errors import JobFailed
from kpc.load.pre_image import needs_pre_image
from kpc.load.upload_encoding import ENCODING_TRAIT, REFUSAL_SEEN
from kpc.partition import find_partition
from kpc.stages.context import PartitionContext

SUPPLIERS = find_partition("KPS_R_POS_SUPPLIER", "ALL")

pytestmark = pytest.mark.usefixtures("quick_retries")


@pytest.fixture
def workspace_of(emulated: Callable[..., Emulator], tmp_path: Path) -> Iterator[Callable[..., SampleWorkspace]]:
    """Opens a workspace over an org that behaves as the switches say."""
    opened = []

    def open_one(*switches: str) -> SampleWorkspace:
        opened.append(make_workspace(tmp_path, emulated(*switches).settings, "run-1"))
        return opened[-1]

    yield open_one
    for workspace in opened:
        close(workspace)


def learned(workspace: SampleWorkspace, name: str = ENCODING_TRAIT) -> str | None:
    return workspace.ledger.org_facts.find(workspace.environment.target_id, name)


def load(workspace: SampleWorkspace, rows: int = 4) -> int:
    """Stage fresh rows and load them; returns how many arrived."""
    stage(workspace, SUPPLIERS, fresh_keys(rows))
    return int(sf_loaded.materialize(PartitionContext(workspace, SUPPLIERS)).detail["loaded"])


def test_gzip_is_learned_from_a_job_that_took_it(workspace_of: Callable[..., SampleWorkspace]) -> None:
    """After the first load the org is known to take gzip; nothing else is recorded."""
    workspace = workspace_of()
    assert load(workspace) == 4
    assert learned(workspace) == "gzip"
    assert learned(workspace, REFUSAL_SEEN) is None


def test_a_job_that_fails_for_another_reason_teaches_nothing(workspace_of: Callable[..., SampleWorkspace]) -> None:
    """A field that the org lacks fails gzip and plain CSV alike; once it is mended, gzip is tried again and learned."""
    workspace = workspace_of()
    stage(workspace, SUPPLIERS, fresh_keys(3))
    workspace.plant(Fault("GET .*/jobs/ingest/[^/]+$", SaysFailed(), last=99))
    with pytest.raises(JobFailed, match="Field name not found"):
        sf_loaded.materialize(PartitionContext(workspace, SUPPLIERS))
    assert sorted(upload_encodings(workspace)) == ["gzip", "identity"]
    assert learned(workspace) is None
    workspace.plant()
    assert int(sf_loaded.materialize(PartitionContext(workspace, SUPPLIERS)).detail["loaded"]) == 3
    assert learned(workspace) == "gzip"


@dataclass
class SaysFailed:
    """Every job, once it was uploaded, is told as failed because its rows have a field that the object lacks."""

    known: set[str] = field(default_factory=set)

    def __call__(self, request: httpx.Request) -> httpx.Response | None:
        job_id = request.url.path.rpartition("/")[2]
        if job_id not in self.known:
            self.known.add(job_id)
            return None  # before the upload: the org's own answer
        answer = {
            "id": job_id,
            "state": "Failed",
            "object": SUPPLIERS.table.target,
            "operation": "upsert",
            "createdDate": "2024-05-01T12:00:00.000+0000",
            "numberRecordsProcessed": 0,
            "errorMessage": "InvalidBatch : Field name not found : Absent__c",
        }
        return httpx.Response(200, json=answer, request=request)


def upload_encodings(workspace: SampleWorkspace) -> list[str | None]:
    """How each job of the staged chunk was sent."""
    (chunk,) = workspace.ledger.chunks.planned(workspace.environment, SUPPLIERS)
    jobs = workspace.ledger.jobs.of_chunk(chunk.generation, chunk.mapping_version, chunk.name)
    return [job.encoding for job in jobs]


def test_a_refused_upload_is_no_conclusion_until_the_rows_arrived(workspace_of: Callable[..., SampleWorkspace]) -> None:
    """Refused as gzip and accepted as plain CSV, but the job ends without its rows: nothing is learned."""
    workspace = workspace_of("gzip_upload=refuse", "batch_timeouts=9", "batch_attempts=1")
    with pytest.raises(JobFailed):
        load(workspace)
    assert learned(workspace) is None
    assert learned(workspace, REFUSAL_SEEN) is not None


@pytest.mark.parametrize("switch", ["gzip_upload=refuse", "gzip_upload=misread"])
def test_no_gzip_is_learned_when_plain_rows_arrived(workspace_of: Callable[..., SampleWorkspace], switch: str) -> None:
    """The alternative succeeded: it is recorded, and used without another trial."""
    workspace = workspace_of(switch)
    assert load(workspace) == 4
    assert learned(workspace) == "identity"
    assert learned(workspace, REFUSAL_SEEN) is None
    before = len(list(workspace.salesforce.list_jobs()))
    assert load(workspace) == 4
    assert len(list(workspace.salesforce.list_jobs())) == before + 1


def test_an_org_that_stops_taking_gzip_gets_plain_rows(workspace_of: Callable[..., SampleWorkspace]) -> None:
    """What was learned may become wrong: a 415 is answered by plain CSV in the same job, and learned anew."""
    workspace = workspace_of()
    load(workspace)
    assert learned(workspace) == "gzip"
    workspace.plant(Fault("PUT", answers(415, "UNSUPPORTED_MEDIA_TYPE")))
    assert load(workspace) == 4
    assert learned(workspace) == "identity"


def test_a_forgotten_fact_is_learned_anew(workspace_of: Callable[..., SampleWorkspace]) -> None:
    """After forgetting, the next small chunk tries gzip again."""
    workspace = workspace_of()
    facts, target = workspace.ledger.org_facts, workspace.environment.target_id
    facts.remember(target, ENCODING_TRAIT, "identity")
    load(workspace)
    assert learned(workspace) == "identity"
    assert facts.forget(target, ENCODING_TRAIT)
    assert not facts.forget(target, ENCODING_TRAIT)
    load(workspace)
    assert [(fact.name, fact.value) for fact in facts.of_org(target)] == [
        ("found_empty:kps_r_pos_supplier", workspace.environment.source_id),
        (ENCODING_TRAIT, "gzip"),
    ]


def test_an_object_that_others_filled_before_our_first_job_is_not_empty(
    workspace_of: Callable[..., SampleWorkspace],
) -> None:
    """That it was found empty is believed only once a job of ours was closed."""
    workspace = workspace_of()
    context = PartitionContext(workspace, SUPPLIERS)
    assert not needs_pre_image(context)
    workspace.salesforce.upsert_records(
        SUPPLIERS.table.target, "External_ID__c", [{"External_ID__c": "THEIRS", "Pos_Supplier_Code__c": "T"}]
    )
    assert needs_pre_image(context)
    assert workspace.ledger.org_facts.of_org(workspace.environment.target_id) == []
