-- The history of every run, what is derived from it, and who may append to it.

create table runs (
    key integer primary key autoincrement,
    id text not null unique,
    workflow text not null,
    version text not null,
    status text not null,
    start_key text,
    parent_id text,
    tags text not null,
    priority integer not null,
    created_at integer not null,
    updated_at integer not null,
    finished_at integer,
    wake_at integer,
    due_at integer,
    in_flight integer not null,
    seq integer not null
) strict;

-- vbl ls: newest first, by status, by workflow
create index runs_by_status on runs (status, id);
create index runs_by_workflow on runs (workflow, id);
-- start(key=...)
create unique index runs_by_start_key on runs (workflow, start_key) where start_key is not null;
-- the supervisor: what is due, what was in flight
create index runs_due on runs (workflow, priority, due_at) where due_at is not null;
create index runs_in_flight on runs (key) where in_flight > 0;
-- children of a run
create index runs_by_parent on runs (parent_id) where parent_id is not null;

create table run_tags (
    tag text not null,
    run integer not null,
    primary key (tag, run)
) strict, without rowid;

create table events (
    id integer primary key autoincrement check (id > 0),
    run integer not null,
    seq integer not null,
    type text not null,
    at integer not null,
    payload text not null,
    chain blob not null
) strict;

-- a run's history in order; two appenders of the same number clash here
create unique index events_by_run on events (run, seq);

-- runs that retention is about to strike; a mark is set and taken back in the transaction that deletes the run.
-- What counts is the history, not the disposable summary: only a run whose last event ends it can be marked, and the
-- mark stays until all of its events are gone.
create table struck (
    run integer primary key
) strict;

create trigger struck_finished before insert on struck
when coalesce(
    (select type from events where run = new.run order by seq desc limit 1) not in ('RUN_COMPLETED', 'RUN_FAILED', 'RUN_CANCELLED'),
    true
)
begin
    select raise(abort, 'vbl: only a finished run can be struck');
end;

create trigger struck_whole before delete on struck
when exists (select 1 from events where run = old.run)
begin
    select raise(abort, 'vbl: a run is struck whole or not at all');
end;

create trigger events_in_order before insert on events
when new.seq <> 1 + coalesce((select max(seq) from events where run = new.run), 0)
    or (new.id > 0 and exists (select 1 from events where id = new.id))
begin
    select raise(abort, 'vbl: a history is append-only and has no gaps');
end;

create trigger events_no_update before update on events
begin
    select raise(abort, 'vbl: a history is append-only');
end;

create trigger events_no_delete before delete on events
when exists (select 1 from runs where key = old.run)
    or not exists (select 1 from struck where run = old.run)
begin
    select raise(abort, 'vbl: a history is append-only');
end;

create table blobs (
    digest text primary key,
    bytes integer not null,
    data blob not null
) strict;

-- a cache of the fold: the variables in full, now and then
create table checkpoints (
    run integer not null,
    checkpoint integer not null,
    seq integer not null,
    variables blob not null,
    primary key (run, checkpoint)
) strict, without rowid;

-- the source text of each version of a definition
create table definitions (
    workflow text not null,
    version text not null,
    source text not null,
    file text not null,
    line integer not null,
    python text not null,
    seen_at integer not null,
    primary key (workflow, version)
) strict;

create table supervisor (
    one integer primary key check (one = 1),
    epoch integer not null,
    holder text not null,
    workflows text not null,
    taken_at integer not null,
    left_at integer
) strict;

insert into supervisor values (1, 0, '', '', 0, 0);

create view vbl_runs as
select id, workflow, version, status, start_key as key, parent_id, created_at, updated_at, finished_at, wake_at, seq,
    tags, priority
from runs;

create view vbl_events as
select events.id, runs.id as run_id, events.seq, events.type, events.at, events.payload
from events
join runs on runs.key = events.run;

-- One row an attempt. What ended it is the first later event of the run that completes, fails, interrupts or gives up
-- the step: the next attempt begins only after that.
create view vbl_steps as
select
    runs.id as run_id,
    json_extract(started.payload, '$.step') as step,
    json_extract(started.payload, '$.attempt') as attempt,
    case ended.type
        when 'STEP_COMPLETED' then 'completed'
        when 'STEP_FAILED' then 'failed'
        when 'STEP_INTERRUPTED' then 'interrupted'
        when 'STEP_CANCELLED' then 'cancelled'
        else 'running'
    end as status,
    json_extract(started.payload, '$.effect') as effect,
    json_extract(ended.payload, '$.error.kind') as kind,
    started.at as started_at,
    ended.at as finished_at
from events as started
join runs on runs.key = started.run
left join events as ended on ended.run = started.run and ended.seq = (
    select min(later.seq)
    from events as later
    where later.run = started.run
        and later.seq > started.seq
        and later.type in ('STEP_COMPLETED', 'STEP_FAILED', 'STEP_INTERRUPTED', 'STEP_CANCELLED')
        and json_extract(later.payload, '$.step') = json_extract(started.payload, '$.step')
)
where started.type = 'STEP_STARTED';
