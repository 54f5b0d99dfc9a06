-- Gates, as they are derived from the histories; queues; and what the definitions say of their queues.

alter table runs add column started_at integer;
alter table runs add column queue text;
alter table runs add column lane text;

-- vbl queues, admission: the runs that hold a place; how many began lately
create index runs_holding on runs (queue, lane) where queue is not null and started_at is not null and finished_at is null;
create index runs_begun on runs (queue, started_at) where queue is not null and started_at is not null;
-- admission: the runs that wait for a place, by lane, in order
create index runs_queued on runs (workflow, lane, priority, created_at)
where queue is not null and started_at is null and finished_at is null;

alter table definitions add column options text not null default '{}';

-- one row a gate; derived, like runs
create table gates (
    id text primary key,
    run integer not null,
    seq integer not null,
    name text not null,
    status text not null,
    assignees text not null,
    requested_at integer not null,
    expires_at integer,
    decided_at integer,
    decided_by text
) strict, without rowid;

-- vbl inbox: those that are open, the oldest first; vbl gate: those of a run
create index gates_open on gates (requested_at) where status = 'open';
create index gates_by_run on gates (run, seq);
create index gates_by_age on gates (requested_at, run, seq);

create view vbl_gates as
select gates.id, runs.id as run_id, gates.name, gates.status, gates.requested_at, gates.expires_at, gates.decided_at,
    gates.decided_by
from gates
join runs on runs.key = gates.run;

-- What the calls of models used, as the steps that made them recorded it.
create view vbl_costs as
select
    runs.id as run_id,
    json_extract(events.payload, '$.step') as step,
    json_extract(events.payload, '$.usage.provider') as provider,
    json_extract(events.payload, '$.usage.model') as model,
    json_extract(events.payload, '$.usage.input_tokens') as input_tokens,
    json_extract(events.payload, '$.usage.output_tokens') as output_tokens,
    json_extract(events.payload, '$.usage.usd') as usd
from events
join runs on runs.key = events.run
where events.type = 'STEP_COMPLETED'
    and json_extract(events.payload, '$.usage') is not null;
