-- The SQL of the store, by name. One clause a line; a test explains each one and forbids a scan of events.

-- name: head
select
    (select epoch from supervisor where one = 1),
    (select seq from sqlite_sequence where name = 'events')

-- name: append
insert into events (run, seq, type, at, payload, chain)
values (?, ?, ?, ?, ?, ?)

-- name: last_run
select coalesce((select seq from sqlite_sequence where name = 'runs'), 0)

-- name: insert_run
insert into runs (
    id, workflow, version, status, start_key, parent_id, tags, priority, created_at, updated_at, finished_at,
    wake_at, due_at, in_flight, seq, started_at, queue, lane, usd, key
)
values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: update_run
update runs
set version = ?, status = ?, updated_at = ?, finished_at = ?, wake_at = ?, due_at = ?, in_flight = ?, seq = ?,
    started_at = ?, queue = ?, lane = ?, usd = ?
where key = ?

-- name: put_gate
insert or replace into gates (
    id, run, seq, name, status, assignees, requested_at, expires_at, decided_at, decided_by
)
values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: gates_from
select id, run
from gates
where id >= ?
order by id
limit 2

-- name: open_gates
select id, run, seq, name, status, assignees, requested_at, expires_at, decided_at, decided_by
from gates
where status = 'open' and (requested_at, id) > (?, ?)
order by requested_at, id
limit ?

-- name: open_gates_counted
select count(*)
from (select 1 from gates where status = 'open' limit ?)

-- name: all_gates
select id, run, seq, name, status, assignees, requested_at, expires_at, decided_at, decided_by
from gates
where (requested_at, run, seq) > (?, ?, ?)
order by requested_at, run, seq
limit ?

-- name: place_of_gate
select requested_at, run, seq
from gates
where id = ?

-- name: gates_of
select id, run, seq, name, status, assignees, requested_at, expires_at, decided_at, decided_by
from gates
where run = ?
order by seq

-- name: insert_tag
insert or ignore into run_tags (tag, run)
values (?, ?)

-- name: insert_blob
insert or ignore into blobs (digest, bytes, data)
values (?, ?, ?)

-- name: blob
select data
from blobs
where digest = ?

-- name: events_of
select seq, type, at, payload, chain, id
from events
where run = ?
    and seq > ?
order by seq

-- name: newer
-- (without the plus, the planner walks over the whole index of runs and their events)
select run, max(id)
from events
where id > ?
group by +run

-- name: tail
select events.id, runs.id, events.seq, events.type, events.at, events.payload, events.run
from events
join runs on runs.key = events.run
where events.id > ?
order by events.id
limit ?

-- name: tail_of
-- (by the index of the run's events, which holds their ids too)
select events.id, runs.id, events.seq, events.type, events.at, events.payload, events.run
from events
join runs on runs.key = events.run
where events.run = ?
    and events.id > ?
order by events.seq
limit ?

-- name: steps_completed
-- (among the latest events; by their ids)
select count(*)
from events
where id > ?
    and at >= ?
    and type = 'STEP_COMPLETED'

-- name: event_behind
select id, at
from events
where id > ?
order by id
limit 1

-- name: priorities
with recursive priorities (priority) as (
    select max(priority)
    from runs
    where workflow = ?
        and due_at is not null
    union all
    select (
        select max(priority)
        from runs
        where workflow = ?
            and due_at is not null
            and runs.priority < priorities.priority
    )
    from priorities
    where priority is not null
)
select priority
from priorities
where priority is not null

-- name: due
select key
from runs
where workflow = ?
    and priority = ?
    and due_at <= ?
order by due_at
limit ?

-- name: next_due
select min(due_at)
from runs
where workflow = ?
    and priority = ?
    and due_at > ?

-- name: in_flight
select key
from runs
where in_flight > 0

-- name: changed_runs
select events.id, runs.id
from events
join runs on runs.key = events.run
where events.id > ?
order by events.id
limit ?

-- name: blocked
select key, workflow
from runs
where status = 'blocked'

-- name: doubts
select key
from runs
where status = 'blocked'
and 'unknown_outcome' = (
    select json_extract(payload, '$.reason')
    from events
    where run = runs.key
    and type = 'RUN_BLOCKED'
    order by seq desc
    limit 1
)
order by id
limit ?

-- name: key_of
select key
from runs
where id = ?

-- name: keys_from
select key, id
from runs
where id >= ?
order by id
limit 2

-- name: newest
select key
from runs
order by id desc
limit 1

-- name: newest_of
select key
from runs
where status = ?
order by id desc
limit 1

-- name: children_of
select id, workflow, version, status, start_key, parent_id, tags, created_at, updated_at, finished_at, wake_at, seq,
    key, started_at, queue, in_flight, usd
from runs
where parent_id = ?
order by key
limit ?

-- name: newest_children
select key, id, workflow, status, wake_at, queue, lane
from runs
where parent_id = ?
order by key desc
limit ?

-- name: newest_tagged
select run_tags.run
from run_tags
cross join runs on runs.key = run_tags.run
where run_tags.tag = ?
    and runs.workflow = ?
order by run_tags.run desc
limit 1

-- name: by_start_key
select key
from runs
where workflow = ?
    and start_key = ?

-- name: run_row
select id, workflow, version, status, start_key, parent_id, tags, priority, created_at, updated_at, finished_at,
    wake_at, due_at, in_flight, seq, started_at, queue, lane, usd, key
from runs
where key = ?

-- name: definition
select source, file, line, python, version
from definitions
where workflow = ?
    and version = ?

-- name: newest_definition
select source, file, line, python, version
from definitions
where workflow = ?
order by seen_at desc
limit 1

-- name: insert_definition
-- (one that was there before is the present one again)
insert into definitions (workflow, version, source, file, line, python, options, seen_at)
values (?, ?, ?, ?, ?, ?, ?, ?)
on conflict (workflow, version) do update
set options = excluded.options, seen_at = excluded.seen_at

-- name: insert_checkpoint
insert or replace into checkpoints (run, checkpoint, seq, variables)
values (?, ?, ?, ?)

-- name: drop_older_checkpoints
delete from checkpoints
where run = ?
    and checkpoint < ?

-- name: take_epoch
update supervisor
set epoch = epoch + 1, holder = ?, workflows = ?, taken_at = ?, left_at = null
where one = 1
returning epoch

-- name: announce
update supervisor
set workflows = ?
where one = 1
    and epoch = ?

-- name: leave
update supervisor
set left_at = ?
where one = 1
    and epoch = ?

-- name: supervisor
select epoch, holder, workflows, taken_at, left_at
from supervisor
where one = 1

-- name: handle
select id, workflow, version, status, start_key, parent_id, tags, created_at, updated_at, finished_at, wake_at, seq,
    key, started_at, queue, in_flight, usd
from runs
where key = ?

-- name: definitions_latest
select workflow, options, max(seen_at)
from definitions
group by workflow

-- name: queue_of
select queue
from runs
where key = ?

-- name: queues_waiting
with recursive queues (queue) as (
    select min(queue)
    from lanes
    union all
    select (
        select min(queue)
        from lanes
        where lanes.queue > queues.queue
    )
    from queues
    where queue is not null
)
select queue
from queues
where queue is not null

-- name: workflows_waiting
with recursive workflows (workflow) as (
    select min(workflow)
    from lanes
    where queue = ?
    union all
    select (
        select min(workflow)
        from lanes
        where queue = ?
            and lanes.workflow > workflows.workflow
    )
    from workflows
    where workflow is not null
)
select workflow
from workflows
where workflow is not null

-- name: priorities_waiting
with recursive priorities (priority) as (
    select max(priority)
    from lanes
    where queue = ?
        and workflow = ?
    union all
    select (
        select max(priority)
        from lanes
        where queue = ?
            and workflow = ?
            and lanes.priority < priorities.priority
    )
    from priorities
    where priority is not null
)
select priority
from priorities
where priority is not null

-- name: lanes_after
select held, turn_at, head, lane
from lanes
where queue = ?
    and workflow = ?
    and priority = ?
    and held < ?
    and (held, turn_at, head) > (?, ?, ?)
order by held, turn_at, head
limit ?

-- name: waiting_in_lane
select priority, key
from runs
where queue = ?
    and lane is ?
    and workflow = ?
    and status = 'queued'
order by priority desc, created_at, key
limit ?

-- name: held
select count(*)
from (
    select 1
    from runs indexed by runs_holding
    where queue = ?
        and started_at is not null
        and finished_at is null
        and status <> 'queued'
    limit ?
)

-- name: held_in_lane
select count(*)
from (
    select 1
    from runs indexed by runs_holding
    where queue = ?
        and lane = ?
        and started_at is not null
        and finished_at is null
        and status <> 'queued'
    limit ?
)

-- name: begun
select started_at
from runs
where queue = ?
    and started_at > ?
order by started_at desc
limit ?

-- name: begun_in_lane
select started_at
from runs
where queue = ?
    and lane = ?
    and started_at > ?
order by started_at desc
limit ?

-- name: queues_held
with recursive queues (queue) as (
    select min(queue)
    from runs indexed by runs_holding
    where queue is not null
        and started_at is not null
        and finished_at is null
        and status <> 'queued'
    union all
    select (
        select min(queue)
        from runs indexed by runs_holding
        where runs.queue > queues.queue
            and runs.queue is not null
            and started_at is not null
            and finished_at is null
            and status <> 'queued'
    )
    from queues
    where queue is not null
)
select queue
from queues
where queue is not null

-- name: waiting
select count(*)
from runs
where queue = ?
    and status = 'queued'

-- name: lanes_held
select lane, count(*)
from runs indexed by runs_holding
where queue = ?
    and started_at is not null
    and finished_at is null
    and status <> 'queued'
group by lane

-- name: lanes_waiting
select lane, count(*)
from runs
where queue = ?
    and status = 'queued'
group by lane

-- name: holders
select key, id, workflow, status, wake_at, queue, lane
from runs indexed by runs_holding
where queue = ?
    and started_at is not null
    and finished_at is null
    and status <> 'queued'
limit ?

-- name: holders_in_lane
select key, id, workflow, status, wake_at, queue, lane
from runs indexed by runs_holding
where queue = ?
    and lane = ?
    and started_at is not null
    and finished_at is null
    and status <> 'queued'
limit ?

-- name: waiting_before
select (
    select count(*)
    from runs
    where queue = ?
        and lane is ?
        and status = 'queued'
        and priority > ?
) + (
    select count(*)
    from runs
    where queue = ?
        and lane is ?
        and status = 'queued'
        and priority = ?
        and created_at < ?
)

-- name: place_of
-- (where the run is gone: in front of the one that was next to it)
select key + (id <> ?)
from runs
where id <= ?
order by id desc
limit 1

-- name: count_status
select count(*)
from (
    select 1
    from runs indexed by runs_by_status
    where status = ?
    limit ?
)

-- name: count_status_own
select count(*)
from (
    select 1
    from runs indexed by runs_of_vbl
    where workflow >= 'vbl.'
        and workflow < 'vbl/'
        and status = ?
    limit ?
)

-- name: texts_upto
select event
from run_texts_upto
where one = 1

-- name: set_texts_upto
update run_texts_upto
set event = ?
where one = 1

-- name: types_behind
select id, run, seq, type
from events
where id > ?
order by id
limit ?

-- name: payload_of
select payload
from events
where id = ?

-- name: text_of
select text
from run_texts
where rowid = ?

-- name: put_text
-- (a run that has been struck meanwhile has no text)
insert or replace into run_texts (rowid, text)
select ?, ?
where exists (select 1 from runs where key = ?)

-- name: last_events
select type, json_extract(
        payload, '$.step', '$.attempt', '$.max_attempts', '$.gate', '$.wait', '$.call', '$.name', '$.workflow',
        '$.reason', '$.message', '$.error', '$.final'
    )
from events
where run = ?
    and seq > ?
order by seq desc

-- name: ended_between
select status, count(*)
from (
    select status
    from runs indexed by runs_ended
    where finished_at >= ?
        and finished_at < ?
    limit ?
)
group by status
