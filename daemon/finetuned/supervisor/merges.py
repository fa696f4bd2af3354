"""
Merging the adapter of the head into a full model, by order or at a time of day.

Only queues the job; training and evaluation workers do it like any other, and
the gate judges it. Does not know how merging works.
"""

from __future__ import annotations

import os
from datetime import datetime

import structlog

from finetuned.core.job import FINAL_STATES, JobKind, JobState
from finetuned.core.timetable import is_due
from finetuned.files.family_list import several_adapters
from finetuned.layout import Priority
from finetuned.registry.weights import weights_of
from finetuned.supervisor.context import Context

log = structlog.get_logger()


def ask_for_consolidation(context: Context) -> str:
    """
    Queue the merge of the head's adapter, and say so; or why there is nothing to merge.

    The head and not the release: training goes on from the merged model, and must not lose
    what it learnt since. The merge is released only if the head is the release.

    Raises:
        RegistryError, ModelError: The head is not there.
    """
    journal, version = context.journal, context.journal.heads.version()
    if version is None:
        return "nothing to do: there is no version yet"
    if weights_of(context.layout, version, context.config.model.base).base_version == version:
        return f"nothing to do: {version} is consolidated already"
    adapter = context.layout.versions / version / "adapter_config.json"
    if not adapter.is_file():
        return f"nothing to do: {version} is a full model, it has no adapter"
    if several := several_adapters(version, adapter.parent):
        return f"refused: {several}, which cannot become one full model"
    shortage = lacks_space(context)
    if shortage is not None:
        return f"refused: {shortage}"
    open_states = [state for state in JobState if state not in FINAL_STATES]
    for job in journal.jobs.in_states(*open_states):
        if job.kind is JobKind.CONSOLIDATION:
            return f"nothing to do: {job.id} is about to"
    job_id = journal.jobs.add(Priority.LOW, (), kind=JobKind.CONSOLIDATION)
    log.info("job_created", job_id=job_id, datasets=[], count=0)
    released = journal.promotions.incumbent()
    if version != released:
        stays = f"current_model stays {released or 'the base model'} until what is made is proven"
        return f"queued as {job_id}: it merges {version}, the head of training; {stays}"
    return f"queued as {job_id}"


def lacks_space(context: Context) -> str | None:
    """
    Return why a merge would not fit on the disk, None if it fits.

    A merged model is kept twice, as version and backup, and is as large as its base.
    """
    layout, config = context.layout, context.config
    weights = weights_of(layout, context.journal.heads.version(), config.model.base)
    size = sum(p.stat().st_size for p in weights.base.glob("*.safetensors"))
    disk = os.statvfs(layout.models)
    free = disk.f_bavail * disk.f_frsize
    needed = config.supervisor.disk_reserve_bytes + (3 if config.registry.backup else 2) * size
    if free >= needed:
        return None
    return f"{free >> 20} MiB free under models/, a merge needs {needed >> 20} MiB"


def consolidate_nightly(context: Context, *, idle: bool, now: datetime) -> None:
    """
    Queue a merge if its time of day has come, the daemon is idle, and there were enough promotions.

    Args:
        context: Shared state.
        idle: Whether nothing is being done and nothing waits. A merge that is due waits for
            the next idle moment of the same date.
        now: Local wall clock: a time of day is a person's, not UTC.
    """
    config, journal = context.config.registry, context.journal
    last = journal.settings.last_consolidation()
    if not idle or not is_due(now, at=config.consolidate_at, last=last):
        return
    journal.settings.note_consolidation(now.date())
    if journal.jobs.promotions_since_merge() >= config.consolidate_after:
        log.info("consolidation_due", outcome=ask_for_consolidation(context))
