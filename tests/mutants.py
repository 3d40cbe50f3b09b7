"""Break the algorithms and the service on purpose: every break must fail the test that watches it.

    python -m tests.mutants [NAME …]

Each mutant replaces one piece of text in a copy of the tree, and the test it
names must fail there; without mutants all named tests must pass. Golden files
are no answer, they notice any change: what is asked is whether a test that
knows what the numbers *mean* fails. Exit code 1 if one survives, or if the text
to replace is not there any more.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.tidy.tree import ROOT, files

_DRAWS: Final = "tests/statistical/test_draws.py::test_"
_NARROW: Final = "tests/statistical/test_narrow.py::test_"
_ESTIMATES: Final = "tests/statistical/test_estimates.py::test_"
_TIES: Final = "tests/statistical/test_ties.py::test_"
_TENSORS: Final = "tests/statistical/test_tensors.py::test_"
_LOG: Final = "tests/contract/test_store_log.py::"
_REDIS: Final = "tests/contract/test_store_redis.py::"
_CONNECTION: Final = "tests/contract/test_redis_connection.py::test_"
_QUOTAS: Final = "tests/service/test_quotas.py::test_"
_ACCESS: Final = "tests/service/test_access.py::test_"
_FAULTS: Final = "tests/client/test_faults.py::test_"
_RPC_ACCESS: Final = "tests/service/test_grpc_access.py::test_"
_STREAMS: Final = "tests/service/test_grpc_streams.py::test_"
_EQUALITY: Final = "tests/service/test_grpc_equality.py::test_"
_SHARED: Final = "tests/service/test_metrics_shared.py::test_"


@dataclass(frozen=True, slots=True)
class Mutant:
    """One break. old occurs exactly once in the file. test: the one that must fail."""

    name: str
    file: str
    old: str
    new: str
    test: str


_ALGORITHMS: Final = (
    Mutant("every estimate is zero", "sketch_core/count_sketch.py",
           "    return median\n", "    return median * 0\n",
           "tests/statistical/test_recovery.py::test_lists_of_16_are_whole[2.0]"),
    Mutant("every draw is coordinate 0", "sketch_core/draws.py",
           "index=arrivals.index[chosen],", "index=arrivals.index[chosen] * np.uint64(0),",
           _DRAWS + "first_draws_follow_the_law[equal, p=1]"),
    Mutant("signs dropped", "sketch_core/hashing.py",
           "return [mix(key, coordinates) for key in self._keys]",
           "return [np.zeros_like(coordinates) for _ in self._keys]",
           _ESTIMATES + "point_estimates_err_as_their_standard_errors_say[equal]"),
    Mutant("one hash for all rows", "sketch_core/hashing.py",
           "word, field = divmod(row, len(self._fields))", "word, field = 0, 0",
           _ESTIMATES + "point_estimates_err_as_their_standard_errors_say[equal]"),
    Mutant("exponentials forgotten (scale 1)", "sketch_core/scaling.py",
           "return mix(self._first, coordinates)", "return np.full_like(coordinates, 1 << 63)",
           _DRAWS + "first_draws_follow_the_law[gaussian, p=2]"),
    Mutant("τ one too early", "sketch_core/draws.py",
           "arrivals.log_arrival(count) if size", "arrivals.log_arrival(count - 1) if size",
           _ESTIMATES + "sums_over_inclusion_probabilities_are_unbiased[equal-1.0]"),
    Mutant("τ one too late", "sketch_core/draws.py",
           "arrivals.log_arrival(count) if size > count else",
           "arrivals.log_arrival(count + 1) if size > count + 1 else",
           _ESTIMATES + "sums_over_inclusion_probabilities_are_unbiased[equal-1.0]"),
    Mutant("τ from the end of the list", "sketch_core/draws.py",
           "log_threshold = arrivals.log_arrival(count) if size > count else arrivals.log_cut",
           "log_threshold = arrivals.log_cut",
           _ESTIMATES + "sums_over_inclusion_probabilities_are_unbiased[equal-1.0]"),
    Mutant("the 3 σ̂ rule dropped", "sketch_core/heavy_hitters.py",
           "SETTLED: Final = 0.02\n", "SETTLED: Final = 0.02\nDETECTION = 0.0  # noqa\n",
           _NARROW + "narrow_sketches_hardly_ever_serve_what_is_zero[2.0-64]"),
    Mutant("the agreement of rows dropped", "sketch_core/heavy_hitters.py",
           "(size >= threshold) & (along >= least) & (along <= AGREEMENT[1] * size)",
           "(size >= threshold)",
           _NARROW + "narrow_sketches_hardly_ever_serve_what_is_zero[2.0-64]"),
    Mutant("whatever was found is served", "sketch_core/heavy_hitters.py",
           "least = np.maximum(agreement * size, MEAN_SHARE * threshold)\n",
           "return np.asarray(size > 0.0)\n    least = size\n",
           _NARROW + "narrow_sketches_hardly_ever_serve_what_is_zero[2.0-64]"),
    Mutant("all that is found is peeled at once", "sketch_core/heavy_hitters.py",
           "held = new[in_a_shadow(where[:, new], np.abs(mean[new]))]", "held = new[:0]",
           "tests/statistical/test_crowded.py::test_shared_cells_hide_nothing_and_make_up_nothing"),
    Mutant("draws with replacement repeat the list", "sketch_core/ppswor.py",
           "    if coordinates.size == 0 or count == 0:\n",
           "    if coordinates.size:\n"
           "        return np.resize(np.arange(coordinates.size), count)\n"
           "    if coordinates.size == 0 or count == 0:\n",
           _DRAWS + "draws_with_replacement_follow_the_law[two equal spikes, p=1.5]"),
    Mutant("repeats never come", "sketch_core/scaling.py",
           "return exponentials(mix(self._repeat, base[:, None] + numbers))",
           "return 1e9 + exponentials(mix(self._repeat, base[:, None] + numbers))",
           _DRAWS + "repeats_are_as_frequent_as_in_the_law[two equal spikes, p=1.5]"),
    Mutant("repeats end with the list, not with its time", "sketch_core/ppswor.py",
           "horizon = max(float(np.exp(log_rate.max() - log_cut)), float(last.max()))",
           "horizon = np.inf if log_cut == -np.inf else float(last.max())",
           _NARROW + "what_a_narrow_sketch_serves_follows_the_law[one spike]"),
    Mutant("repeat gaps shared between coordinates", "sketch_core/scaling.py",
           "base = mix(self._repeat_base, coordinates)", "base = np.zeros_like(coordinates)",
           _DRAWS + "neighbouring_repeats_are_as_frequent_as_in_the_law[two equal spikes, p=1.5]"),
    Mutant("ties broken by index", "sketch_core/heavy_hitters.py",
           "np.lexsort((tie_break(candidates[chosen]), -sizes))",
           "np.lexsort((candidates[chosen], -sizes))",
           _TIES + "ties_go_to_either_index_alike[sketch]"),
    Mutant("ties of the exact method broken by index", "sketch_core/exact.py",
           "np.lexsort((tie_break[candidates], -key[candidates]))",
           "np.lexsort((candidates, -key[candidates]))",
           _TIES + "ties_go_to_either_index_alike[exact]"),
    Mutant("increments rounded down", "sketch_core/batch.py",
           "np.rint(np.ldexp(numbers, quantum_bits))", "np.floor(np.ldexp(numbers, quantum_bits))",
           _TIES + "rounding_increments_favours_no_side"),
    Mutant("subtraction adds", "sketch_core/batch.py",
           "scaled.astype(np.int64)", "np.abs(scaled).astype(np.int64)",
           _TIES + "rounding_increments_favours_no_side"),
    Mutant("the way back from a row forgets Σ⁻¹", "sketch_core/tensor_product.py",
           "balanced.T @ (v / sigma)", "balanced.T @ v",
           _TENSORS + "values_are_near[gaussian]"),
    Mutant("rows are weighed without A2", "sketch_core/tensor_product.py",
           "weigh = np.ldexp(v * sigma, unit", "weigh = np.ldexp(v, unit",
           _TENSORS + "rows_follow_their_energies[gaussian]"),
    Mutant("pairs of a list share their columns' exponentials", "sketch_core/tensor_sketch.py",
           "draw * self.spec.samples + position)", "draw * self.spec.samples)",
           _TENSORS + "pairs_are_independent_of_one_another[one heavy row]"),
    Mutant("one set of hashes for both operands", "sketch_core/hashing.py",
           "SECOND_REPETITION: Final = 1 << 33", "SECOND_REPETITION: Final = 0",
           _TENSORS + "rows_and_columns_are_drawn_apart"),
    Mutant("the 3 σ̂ rule dropped for rows", "sketch_core/heavy_rows.py",
           "        threshold = max(DETECTION * sigma, floor)\n        before",
           "        threshold = floor\n        before",
           _TENSORS + "narrow_tensors_hardly_ever_serve_what_is_zero"),
    Mutant("rows are not peeled", "sketch_core/heavy_rows.py",
           "np.subtract.at(residual, cells, sign[row, changed, None] * change[changed])", "pass",
           _TENSORS + "values_are_near[one heavy row]"),
    Mutant("norms count on all of a list", "sketch_core/linear_sketch.py",
           "if count > most and cut > -math.inf:",
           "cut, count = arrivals.log_cut, order.size\n        if count < 0:",
           _ESTIMATES + "norms_err_as_their_standard_errors_say[random in 2^40-1.0-8]"),
)  # fmt: skip

_NOTICE: Final = (
    "tests/service/test_cli_notice.py::"
    "test_one_that_leaves_serves_until_a_second_signal_cuts_notice_short"
)

_SERVICE: Final = (
    # An append counts once, whoever sends it how often.
    Mutant("Redis forgets idempotency keys", "service/redis_scripts/append.lua",
           "if tonumber(expires) > now then", "if false then",
           _LOG + "TestAppend::test_a_key_is_counted_once[redis]"),
    Mutant("SQLite forgets idempotency keys", "service/sqlite_appends.py",
           "if answer is None or answer.expires_at <= self._now:", "if True:",
           _LOG + "TestAppend::test_a_key_is_counted_once[sqlite]"),
    Mutant("a key serves any body", "service/redis_scripts/append.lua",
           "if body ~= ARGV[12] or position == '0' then", "if position == '0' then",
           _LOG + "TestAppend::test_another_body_under_the_same_key[redis]"),
    Mutant("a retry in a lane is appended again", "service/redis_scripts/append.lua",
           "if tonumber(number) == tonumber(ARGV[16]) then", "if false then",
           _LOG + "TestAppend::test_everything_advances_together[redis-twice]"),
    Mutant("ghosts of a lane are appended", "service/redis_scripts/append.lua",
           "if tonumber(number) > tonumber(ARGV[16]) then", "if false then",
           _REDIS + "TestLanes::test_an_append_that_arrives_late_is_refused_for_ever"),
    Mutant("a replay is answered as new", "service/redis_scripts/append.lua",
           "id == ARGV[3] and 0 or 1", "0",
           _REDIS + "TestParts::test_what_is_replaced_or_refused_leaves_nothing_behind"),
    Mutant("a retry is answered as a replay", "service/redis_scripts/append.lua",
           "return again(position, updates, 0)", "return again(position, updates, 1)",
           _LOG + "TestRead::test_entries_after_a_position[redis-twice]"),
    Mutant("a part is appended before it is whole", "service/redis_scripts/append.lua",
           "if chunks > 0 and redis.call('HLEN', KEYS[7]) ~= chunks then", "if false then",
           _REDIS + "TestParts::test_a_part_lost_on_the_way_is_staged_again"),
    # Nobody answers from a history that is not the store's.
    Mutant("a log is read on without its digest", "service/redis_scripts/read.lua",
           " or digest_at(position) ~= digest then", " then",
           _LOG + "TestRead::test_start_over_where_the_digest_differs[redis]"),
    Mutant("a cache outlives its history", "service/materializer.py",
           "if tail.checkpoint is not None:", "if tail.checkpoint and progress.owned:",
           "tests/service/test_materializer.py::"
           "test_a_log_that_lost_its_end_and_grew_anew_is_reloaded"),
    Mutant("a checkpoint replaces any other", "service/redis_scripts/compact.lua",
           "sketch[1] ~= ARGV[3] or ", "",
           _LOG + "TestCompact::test_only_over_the_checkpoint_it_replaces[redis]"),
    Mutant("a checkpoint of another history is taken", "service/redis_scripts/compact.lua",
           "if fields.d ~= ARGV[5] then", "if not fields.d then",
           _LOG + "TestCompact::test_only_over_the_checkpoint_it_replaces[redis]"),
    Mutant("one entry too many is trimmed", "service/redis_scripts/trim.lua",
           "through + 1))", "through + 2))",
           _REDIS + "TestParts::test_compaction_trims_the_stream"),
    Mutant("what has expired is alive", "service/redis_scripts/alive.lua",
           "tonumber(found[3]) <= tonumber(now)", "false",
           _LOG + "TestAppend::test_not_found[redis]"),
    Mutant("a late deletion takes the next of the name", "service/redis_scripts/delete.lua",
           "if not sketch[1] or sketch[2] ~= ARGV[1] then", "if not sketch[1] then",
           _REDIS + "TestPlaces::test_a_late_deletion_spares_the_next_of_the_name"),
    Mutant("a late deletion frees the next one's place", "service/redis_scripts/vacate.lua",
           "if incarnation ~= ARGV[2] then", "if false then",
           _REDIS + "TestPlaces::test_a_late_deletion_spares_the_next_of_the_name"),
    # What was answered is there.
    Mutant("replicas are not waited for", "service/redis_connection.py",
           "if not writes or not options.wait_replicas:", "if True:",
           _CONNECTION + "a_write_no_replica_has_is_refused_although_it_is_there"),
    Mutant("replicas are not waited for after NOSCRIPT", "service/redis_connection.py",
           "self._at(key, [by_source], writes, deadline)",
           "self._at(key, [by_source], False, deadline)",
           _CONNECTION + "a_write_is_answered_once_a_replica_has_it"),
    Mutant("a script forgotten is not sent again", "service/redis_connection.py",
           "except exceptions.NoScriptError:", "except ZeroDivisionError:",
           _CONNECTION + "a_script_nobody_knows_any_more_is_sent_again"),
    Mutant("a connection with replies left is used again", "service/redis_server.py",
           "                replies = [await _reply(connection) for _ in commands]",
           # redis-py disconnects by itself unless it is told not to.
           "                whole = True\n"
           "                read = connection.read_response\n"
           "                replies = [await read(disconnect_on_error=False) for _ in commands]",
           _CONNECTION + "cancelled_calls_leave_no_reply_behind"),
    # Quotas.
    Mutant("Redis creates without a place", "service/store_redis.py",
           "await self._index.reserve(record, allowance, now)\n        except",
           "pass\n        except",
           "tests/contract/test_store_allowance.py::test_so_many_sketches_and_no_more[redis]"),
    Mutant("SQLite creates without an allowance", "service/sqlite_transaction.py",
           "if allowance is not None:", "if False:",
           "tests/contract/test_store_allowance.py::test_so_many_bytes_and_no_more[sqlite]"),
    Mutant("what a meter owes is forgotten", "service/redis_scripts/take.lua",
           "missing = tokens - taken, 0", "missing = math.max(0, tokens - taken), 0",
           "tests/contract/test_access_contract.py::"
           "TestMeters::test_a_need_above_the_burst_is_met_and_owed[redis]"),
    Mutant("a replica takes nothing from the store", "service/quota_meters.py",
           "lot = await asyncio.shield(taking)", "taking.cancel(); lot = Lot(want)",
           _QUOTAS + "a_batch_above_the_burst_is_let_in_once_and_owed"),
    Mutant("a quiet replica takes whole lots", "service/quota_meters.py",
           "want = max(missing, min(self._lot, lately))", "want = max(missing, self._lot)",
           _QUOTAS + "what_a_quiet_replica_takes_it_spends"),
    Mutant("a lot is kept for ever", "service/quota_meters.py",
           "if self._now() >= self._stale_at:", "if False:",
           _QUOTAS + "a_lot_not_spent_in_time_is_dropped"),
    Mutant("replays are paid for", "service/quotas.py",
           "if payment.replayed:", "if False:",
           _QUOTAS + "a_replay_and_a_refused_append_cost_nothing"),
    # Tenants and keys.
    Mutant("tenants share names", "service/redis_layout.py",
           "{{{key.tenant}/{key.name}}}", "{{{key.name}}}",
           "tests/contract/test_store_contract.py::"
           "TestCreate::test_tenants_do_not_share_names[redis]"),
    Mutant("every key speaks for one tenant", "service/http_context.py",
           "return caller_of(request.scope).tenant", 'return "acme"',
           "tests/service/test_http_access.py::"
           "test_anothers_sketch_answers_as_one_that_does_not_exist"),
    Mutant("every key may do everything", "service/http_access.py",
           "caller_of(scope).check(role)", "caller_of(scope)",
           "tests/service/test_http_access.py::test_every_route_lets_in_whom_the_table_lets_in"),
    Mutant("a page runs with files of another version", "service/http_dashboard.py",
           'if content is None or request.path_params["digest"] != found.digest:',
           "if content is None:",
           "tests/service/test_http_dashboard.py::test_files_of_another_version_are_refused"),
    Mutant("the page may run inline scripts", "service/http_dashboard.py",
           "\"script-src 'self'\",", "\"script-src 'self' 'unsafe-inline'\",",
           "tests/service/test_http_dashboard.py::"
           "test_everybody_gets_the_page_under_a_strict_policy"),
    Mutant("the page rounds large indices", "service/dashboard/json.js",
           "!Number.isSafeInteger(Number(token))", "false",
           "tests/service/test_dashboard_modules.py::test_reading_json_keeps_every_digit"),
    Mutant("an expired key lets in", "service/access.py",
           "self._clock.now() < known.expires_at", "True", _ACCESS + "a_key_expires"),
    Mutant("a key's public id is enough", "service/access.py",
           "if key is None or not same or not live:", "if key is None or not live:",
           _ACCESS + "a_key_lets_in_and_nothing_else_does"),
    Mutant("the loss of all keys opens the door", "service/directory.py",
           "self._had_keys = self._had_keys or bool(found.keys)",
           "self._had_keys = bool(found.keys)",
           _ACCESS + "who_has_lost_all_keys_is_not_open_again"),
    # The other transport.
    Mutant("every key may call everything", "service/grpc_calls.py",
           "caller.check(ROLES[method])", "caller.check('read')",
           _RPC_ACCESS + "every_rpc_lets_in_whom_the_table_lets_in"),
    Mutant("a stream outlives its key", "service/grpc_streams.py",
           "self._ending = self._refusal()", "self._ending = None",
           _RPC_ACCESS + "a_stream_ends_soon_after_its_key"),
    Mutant("messages of a stream are free", "service/grpc_streams.py",
           "await self._call.served.quotas.request(self._call.tenant)", "pass",
           _RPC_ACCESS + "every_message_of_a_stream_is_a_request"),
    Mutant("messages of a stream out of order", "service/grpc_streams.py",
           "if before is not None:", "if False:",
           _STREAMS + "messages_of_a_sketch_take_effect_in_order"),
    Mutant("streams are read without bound", "service/grpc_streams.py",
           "await self._room.acquire()", "await asyncio.sleep(0)",
           _STREAMS + "a_stream_reads_no_further_than_its_bound"),
    Mutant("an RPC forgets its idempotency key", "service/grpc_service.py",
           "message, short), key)", "message, short), None)",
           _EQUALITY + "one_key_over_both_is_one_change"),
    Mutant("rows and columns swapped", "service/grpc_messages.py",
           "repeated = {name: getattr(message, name) for name in _COLUMNS}",
           'names = {"row": "column", "column": "row"}; '
           "repeated = {name: getattr(message, names.get(name, name)) for name in _COLUMNS}",
           _EQUALITY + "the_same_requests_get_the_same_answers[0]"),
    # What an operator sees and keeps.
    Mutant("replays are counted", "service/metrics.py",
           'if request.outcome == "ok":', 'if request.outcome in ("ok", "replayed"):',
           "tests/service/test_metrics.py::"
           "test_updates_are_counted_in_coordinates_and_a_replay_is_not"),
    Mutant("activity forgets nothing of deleted sketches", "service/materializer.py",
           "self._metrics.activity.forget(identity.incarnation)", "pass",
           "tests/service/test_http_overview.py::"
           "TestActivity::test_a_name_made_anew_starts_from_nothing"),
    Mutant("activity goes back further than it says", "service/metrics_activity.py",
           "slot.number >= number", "slot.number >= 0",
           "tests/service/test_metrics_activity.py::"
           "test_each_request_counts_for_the_window_and_no_longer"),
    Mutant("contains is a pattern", "service/sqlite_reads.py",
           "instr(lower(name), :contains) > 0", "name LIKE '%' || :contains || '%'",
           "tests/contract/test_store_contract.py::"
           "TestList::test_contains_finds_text_and_no_pattern"),
    Mutant("what all workers see is added up", "service/metrics_shared.py",
           "sources = living if of_all else _latest(living, one.joined)", "sources = living",
           _SHARED + "what_all_see_alike_is_taken_from_the_last_look"),
    Mutant("counts end with their worker", "service/metrics_shared.py",
           "sources = [*sources, *ended]", "sources = [*sources]",
           _SHARED + "no_total_falls_when_a_worker_ends"),
    Mutant("secrets are logged", "service/logs.py",
           '"message": redacted(record.getMessage())', '"message": record.getMessage()',
           "tests/service/test_logs.py::test_no_secret_is_written"),
    Mutant("a backup's parts go unchecked", "service/backup_file.py",
           "if self._take(_CHECKSUM_BYTES) != _checksum(start, content):",
           "if not self._take(_CHECKSUM_BYTES):",
           "tests/service/test_backup_file.py::test_what_was_changed_is_never_handed_out"),
    Mutant("a backup's end goes unchecked", "service/backup_file.py",
           "_END.unpack(content) != (count, before)", "_END.unpack(content)[0] != count",
           "tests/service/test_backup_file.py::"
           "test_a_sketch_that_was_left_out_or_moved_is_noticed"),
    Mutant("a backup goes past its instant", "service/backup.py",
           "for entry in tail.entries if entry.position <= record.position]",
           "for entry in tail.entries]",
           "tests/contract/test_backup.py::test_a_backup_aims_at_the_position_it_saw[memory]"),
    Mutant("the client sends no key with an update", "service/client/http_wire.py",
           'tensor_bytes.write(op.columns, {"operand": op.operand}), op.key)',
           'tensor_bytes.write(op.columns, {"operand": op.operand}))',
           _FAULTS + "an_update_whose_answer_was_lost_counts_once[http-sync]"),
    Mutant("the client renews the key for each attempt", "service/client/grpc_wire.py",
           "message = pb.UpdateRequest(sketch=op.sketch, idempotency_key=op.key)",
           "import uuid\n"
           "    message = pb.UpdateRequest(sketch=op.sketch, idempotency_key=uuid.uuid4().hex)",
           _FAULTS + "an_update_whose_answer_was_lost_counts_once[grpc-async]"),
    Mutant("the client sends a broken stream whole, with new keys", "service/client/operations.py",
           "return replace(self, settled=settled)",
           "return replace(self, parts=tuple(replace(p, key=p.key + '+') for p in self.parts))",
           "tests/client/test_wire.py::"
           "test_a_stream_that_ended_early_leaves_the_rest_to_another_attempt"),
    Mutant("the client's pauses reach beyond the deadline", "service/client/retry.py",
           "return pause if now + pause < self._deadline else None", "return pause",
           "tests/client/test_retry.py::test_no_pause_reaches_beyond_the_deadline"),
    Mutant("the client asks again for what is gone", "service/client/retry.py",
           "return self._uncertain and operation.done_by(error)", "return False",
           "tests/client/test_retry.py::"
           "test_absence_settles_a_delete_only_after_an_attempt_that_may_have_worked"),
    Mutant("a second service joins the port of gRPC", "service/cli_ports.py",
           "_listening(address, port).close()", "pass",
           "tests/service/test_cli_ports.py::test_workers_of_another_service_are_found"),
    Mutant("watchers of health miss the drain", "service/grpc_standard.py",
           "if self._health.draining:\n            return int(_Answer.NOT_SERVING)",
           "if self._health.draining:\n            return int(_Answer.SERVING)",
           "tests/service/test_grpc_server.py::"
           "test_watchers_hear_of_each_change_and_of_the_end_and_share_one_look"),
    Mutant("one that leaves looks ready", "service/health.py",
           "if self._leaving:\n            raise", "if self._draining:\n            raise",
           _NOTICE),
    Mutant("clients are not asked to go elsewhere", "service/middleware.py",
           "if self._health.leaving:", "if self._health.draining:", _NOTICE),
    Mutant("the client names no sketch to balancers", "service/client/grpc_wire.py",
           "if _NAME.fullmatch(name) else ()", "if False else ()",
           "tests/client/test_wire.py::"
           "test_metadata_names_the_one_sketch_of_an_operation_where_it_is_a_name"),
)  # fmt: skip

MUTANTS: Final = _ALGORITHMS + _SERVICE


def copy_tree(target: Path) -> None:
    """The sources and tests, without what tools made."""
    for path in files():
        to = target / path.relative_to(ROOT)
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, to)


def failing(tree: Path, tests: Sequence[str]) -> str | None:
    """The first test that fails, None when all pass. Raises RuntimeError when none could be run."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
    try:
        done = subprocess.run(
            command,
            cwd=tree,
            env=os.environ | {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            timeout=1800,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "a test that does not end"
    if done.returncode == 0:
        return None
    named = re.search(r"^FAILED ([^\n]+?)(?: - |$)", done.stdout, flags=re.MULTILINE)
    # Failing by any exception would say that the break is clumsy, not that the test is sharp; but
    # for a refusal that is missing, or one of our own that should not be.
    asserted = re.search(
        r"^E +(?:AssertionError|assert\b|Failed: DID NOT RAISE|service\.errors\.)",
        done.stdout,
        flags=re.MULTILINE,
    )
    if done.returncode != 1 or named is None or asserted is None:
        raise RuntimeError(f"pytest ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return named[1]


def judge(mutant: Mutant, tree: Path) -> tuple[bool, str]:
    """(whether it died, by which test or why not). The tree is put back as it was."""
    path = tree / mutant.file
    text = path.read_text("utf-8")
    if text.count(mutant.old) != 1:
        return False, f"its text occurs {text.count(mutant.old)} times in {mutant.file}"
    path.write_text(text.replace(mutant.old, mutant.new), "utf-8")
    try:
        killer = failing(tree, [mutant.test])
    finally:
        path.write_text(text, "utf-8")
    return (True, killer) if killer else (False, f"{mutant.test} passed")


def main(arguments: Sequence[str] | None = None) -> int:
    """Try the mutants whose names contain any of the words given, or all."""
    parser = argparse.ArgumentParser(description="break algorithms and service on purpose")
    parser.add_argument("names", nargs="*", help="parts of mutants' names")
    words = parser.parse_args(arguments).names
    chosen = [item for item in MUTANTS if not words or any(word in item.name for word in words)]
    survived = 0
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        tree = Path(folder)
        copy_tree(tree)
        if broken := failing(tree, sorted({mutant.test for mutant in chosen})):
            print(f"nothing can be said: {broken} fails without any break")
            return 1
        for mutant in chosen:
            start = time.monotonic()
            died, how = judge(mutant, tree)
            survived += not died
            took = time.monotonic() - start
            print(
                f"{'died' if died else 'SURVIVED':9}{mutant.name:47}{took:3.0f} s  {how}",
                flush=True,
            )
    print(f"{len(chosen) - survived} of {len(chosen)} died")
    return 1 if survived else 0


if __name__ == "__main__":
    raise SystemExit(main())
