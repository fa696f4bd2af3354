"""
One turn of the daemon: look, decide, perform, publish.

The supervisor never loads torch: a CUDA crash, an out-of-memory kill or a
driver that hangs takes a worker down and not the inbox.
"""

from __future__ import annotations

import os
import signal
import time
from functools import partial
from types import FrameType

import structlog

from finetuned.config import Config
from finetuned.core.action import (
    Action,
    AskCanaries,
    Claim,
    CoolDown,
    DismissWatch,
    Leave,
    MakeJob,
    SkipJob,
    StartEvaluation,
    StartIngestion,
    StartTraining,
    StopIngestion,
    StopWorker,
    WarmUp,
)
from finetuned.core.dataset_state import DatasetState
from finetuned.core.decide import decide, is_idle
from finetuned.core.job import FINAL_STATES
from finetuned.core.situation import Situation
from finetuned.errors import EXIT_OK, EXIT_TEMPFAIL, FilesLeft
from finetuned.files.base_model import find_base
from finetuned.layout import Layout
from finetuned.process import notify
from finetuned.process.wake import Wake
from finetuned.supervisor.attempts import WORK, Attempts
from finetuned.supervisor.context import Context, check_root
from finetuned.supervisor.housekeeping import Housekeeping
from finetuned.supervisor.inbox.file_events import InboxEvents
from finetuned.supervisor.inbox.intake import Intake
from finetuned.supervisor.merges import ask_for_consolidation
from finetuned.supervisor.orders import Orders
from finetuned.supervisor.promotion_watch import PromotionWatch
from finetuned.supervisor.publish import Publisher
from finetuned.supervisor.recover import (
    check_head,
    check_incumbent,
    end_orphans,
    open_journal,
    sweep,
)
from finetuned.supervisor.runs.jobs import JobRunner
from finetuned.supervisor.runs.specs import launch_file
from finetuned.supervisor.status import StatusBoard
from finetuned.supervisor.verdict.follow import follow_journal

log = structlog.get_logger()


class Supervisor:
    """
    The daemon of one root. The caller holds the root's lock.
    """

    def __init__(self, layout: Layout, config: Config, *, until_idle: bool) -> None:
        """
        Raises:
            ConfigError: The root is not a directory.
            OSError, sqlite3.OperationalError: The file system refused.
        """
        check_root(layout)
        self._board = StatusBoard(layout.status_file)
        self._context = Context(layout, config, open_journal(layout), self._board)
        self._context.note_config()
        self._intake = Intake(self._context)
        self._jobs = JobRunner(self._context)
        self._watch = PromotionWatch(self._context, self._jobs.spares)
        self._orders = Orders(
            self._context,
            self._jobs.skippable,
            lambda: ask_for_consolidation(self._context),
        )
        self._housekeeping = Housekeeping(self._context)
        self._attempts = Attempts(self._context)
        self._publisher = Publisher(self._context, self._jobs, self._intake, self._watch)
        self._until_idle = until_idle
        self._wake = Wake()
        self._inbox_events = InboxEvents(layout.inbox, layout.control, self._wake)
        self._terminations = 0
        self._leaving = False
        self._last_job_end = float("-inf")

    # -- life -------------------------------------------------------------------

    def run(self) -> int:
        """
        Work until told to stop, or until idle when that was asked for.

        Returns:
            0 after a graceful end; 75 when a second SIGTERM cut it short.

        Raises:
            BaseModelMissing, ConfigError: No base model, or no accelerate_config;
                nothing was touched.
            FilesLeft: Idle, but for files in the inbox that were waited for long enough.
            ModelError: The incumbent is corrupt and cannot be mended.
        """
        find_base(self._context.layout, self._context.config.model.base)
        launch_file(self._context.layout.root, self._context.config.training.accelerate_config)
        self._install_signals()
        self._recover()
        self._inbox_events.start()
        notify.ready("watching inbox/")
        log.info("supervisor_started", pid=os.getpid(), root=str(self._context.layout.root))
        try:
            while not self._leaving:
                self.turn()
                if self._terminations > 1:
                    return self._cut_short()
                if not self._leaving:
                    self._wait()
        finally:
            self._inbox_events.stop()
            self._jobs.cool_down()
            self._watch.dismiss()
        notify.stopping("stopped")
        self._attempts.run("pages", self._context.pages.finish)
        settle = partial(self._orders.settle, worker_gone=True, leaving=True, skipped=False)
        self._attempts.run("acknowledge", settle)
        self._board.update(status="stopped", phase="stopped", waiting_reason=None)
        self._publisher.write(durable=True)
        left = None if self._asked_to_leave else self._intake.left_behind(time.monotonic())
        if left is not None:
            log.error("inbox_left", reason=left)
        log.info("supervisor_stopped")
        self._context.journal.close()
        if left is not None:
            raise FilesLeft(left)
        return EXIT_OK

    @property
    def _asked_to_leave(self) -> bool:
        return self._terminations > 0 or self._orders.stop_requested

    def _install_signals(self) -> None:
        def terminate(number: int, _: FrameType | None) -> None:
            self._terminations += 1
            self._wake.set()

        signal.signal(signal.SIGTERM, terminate)
        signal.signal(signal.SIGINT, terminate)
        signal.signal(signal.SIGCHLD, lambda *_: self._wake.set())

    def _recover(self) -> None:
        context = self._context
        if self._board.fields["phase"] not in ("stopped", "starting"):
            self._board.update(restarts=self._board.fields["restarts"] + 1)
        self._board.update(
            status="idle",
            phase="recovering",
            context_window=context.config.data.max_length,
            max_output_tokens=context.config.evaluation.max_new_tokens,
            validating=None,  # of the daemon before, as is an error in a file read since
            config_error=None,
        )
        self._publisher.write(durable=True)
        self._recovering("ending the workers that the last start left")
        end_orphans(
            context.layout, context.journal, patience=context.config.supervisor.worker_stop_seconds
        )
        sweep(context.layout)
        self._recovering("looking at unfinished jobs and claimed files")
        self._jobs.recover()
        self._intake.recover()
        self._recovering("checking the files of release and head")
        check_incumbent(context)
        check_head(context)
        follow_journal(context)
        self._orders.recover()
        self._recovering("moving the files of finished jobs to their last place")
        self._housekeeping.retire()

    def _recovering(self, what: str) -> None:
        """Show which part of the recovery goes on: on a slow disk one may take minutes."""
        self._board.update(waiting_reason=what)
        self._publisher.write(durable=False)

    def _cut_short(self) -> int:
        log.warning("supervisor_cut_short")
        self._intake.validation.kill()
        self._jobs.kill()
        self._watch.dismiss()
        self._context.journal.close()
        return EXIT_TEMPFAIL

    # -- one turn ---------------------------------------------------------------

    def turn(self) -> None:
        """
        Look, decide, perform, publish; what the file system refuses is tried again.
        """
        woken = self._wake.is_set()
        self._wake.clear()
        attempt = self._attempts.run
        attempt("control", self._orders.look)
        attempt("inbox", lambda: self._look_at_inbox(woken))
        attempt("ingestion", self._intake.validation.poll)
        attempt("worker", self._poll_worker)
        attempt("watch", self._watch.look)
        attempt("pages", self._context.pages.look)
        attempt("housekeeping", self._keep_house)
        if not attempt("journal", self._act) and self._asked_to_leave:
            self._leave_unread()
        self._publisher.publish(self._housekeeping.low_disk, stopping=self._asked_to_leave)
        notify.watchdog()

    def _act(self) -> None:
        """Decide and perform; nothing is done if the journal cannot be read."""
        now = self._situation()
        if now.stopping:
            # A save of a large model may take longer than systemd would wait.
            notify.extend_timeout(self._context.config.supervisor.worker_stop_seconds + 10)
        share = self._context.config.inbox.share_run_max_examples
        actions = decide(now, clock=time.monotonic(), share_examples=share)
        if now.blocked is None and not any(isinstance(action, WORK) for action in actions):
            self._attempts.unblock_work()
        self._perform_all(actions)
        self._settle()

    def _leave_unread(self) -> None:
        """Leave although the journal cannot be read: what lives is stopped, nothing begun."""
        now = Situation(
            stopping=True,
            worker=self._jobs.view(),
            keeps_worker=self._jobs.keeps_worker,
            watching=self._watch.busy,
            ingesting=self._intake.validation.busy,
        )
        self._perform_all(decide(now, clock=0.0, share_examples=0))

    def _perform_all(self, actions: list[Action]) -> None:
        for action in actions:
            self._attempts.perform(action, partial(self._perform, action))

    def _look_at_inbox(self, woken: bool) -> None:
        self._intake.look(time.monotonic(), woken=woken, renamed=self._inbox_events.take_renamed())

    def _poll_worker(self) -> None:
        if self._jobs.poll():
            self._housekeeping.hurry()
            self._last_job_end = time.monotonic()

    def _keep_house(self) -> bool:
        looked = self._housekeeping.look(
            checkpoint_bytes=self._jobs.checkpoint_bytes,
            is_idle=lambda: is_idle(self._situation()),
        )
        if looked:
            self._inbox_events.follow()
        return looked

    def _situation(self) -> Situation:
        context = self._context
        blocked = self._housekeeping.low_disk or context.blocked()
        return Situation(
            stopping=self._asked_to_leave,
            paused=self._orders.paused,
            skip_job=self._orders.skip_job,
            blocked=blocked,
            stable_files=self._intake.stable_files,
            files_waiting=self._intake.files_waiting,
            files_held=self._intake.files_held,
            inbox_overdue=self._intake.is_overdue(time.monotonic()),
            claimed=context.journal.datasets.counts().get(DatasetState.CLAIMED, 0),
            accepted=context.journal.datasets.without_job(),
            jobs=self._jobs.waiting(),
            worker=self._jobs.view(),
            keeps_worker=self._jobs.keeps_worker,
            watch_due=self._watch.is_due(),
            watching=self._watch.busy,
            ingesting=self._intake.validation.busy,
            keep_warm=time.monotonic() - self._last_job_end
            < context.config.supervisor.warm_worker_seconds,
            unretired=len(context.journal.jobs.unretired()),
            until_idle=self._until_idle,
            scanned=self._intake.scanned,
        )

    def _perform(self, action: Action) -> None:
        match action:
            case Claim():
                self._intake.claim_stable()
            case StartIngestion():
                self._intake.validation.start()
            case StopIngestion():
                self._intake.validation.stop()
            case MakeJob(keys, priority):
                self._jobs.make_job(keys, priority)
                self._wake.set()
            case StartTraining(job_id):
                self._jobs.start_training(job_id)
            case StartEvaluation(job_id):
                self._jobs.start_evaluation(job_id)
            case StopWorker(cause):
                self._jobs.stop(cause)
            case SkipJob(job_id):
                self._jobs.skip(job_id)
            case WarmUp():
                self._jobs.warm_up()
            case CoolDown():
                self._jobs.cool_down()
            case AskCanaries():
                self._watch.start()
            case DismissWatch():
                self._watch.dismiss()
            case Leave():
                # The last scan may be seconds old: what was dropped since then is read first.
                self._leaving = self._asked_to_leave or self._intake.nothing_new(time.monotonic())

    def _settle(self) -> None:
        skip = self._orders.skip_job
        jobs = self._context.journal.jobs
        skipped = skip is not None and jobs.get(skip).state in FINAL_STATES
        self._attempts.run(
            "acknowledge",
            lambda: self._orders.settle(
                worker_gone=self._jobs.view() is None, leaving=self._leaving, skipped=skipped
            ),
        )

    # -- waiting ----------------------------------------------------------------

    def _wait(self) -> None:
        config = self._context.config.supervisor
        busy = self._jobs.view() is not None or self._intake.validation.busy or self._watch.busy
        timeout = config.heartbeat_seconds if busy else config.idle_seconds
        due = self._intake.next_due(time.monotonic())
        if due is not None:
            timeout = min(timeout, max(0.05, due))
        if self._orders.skip_job is not None or self._orders.stop_requested:
            timeout = min(timeout, 0.1)
        self._jobs.wait(self._wake, timeout)
