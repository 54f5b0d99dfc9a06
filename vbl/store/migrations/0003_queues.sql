-- Queues: who holds a place, who waits for one, and which lane is next.

drop index runs_holding;
drop index runs_begun;
drop index runs_queued;

-- A run waits for a place while it is queued (it has not begun, or was opened again by a retry); it holds one from its
-- beginning to its end.
create index runs_waiting on runs (queue, lane, workflow, priority desc, created_at)
where queue is not null and status = 'queued';
create index runs_holding on runs (queue, lane)
where queue is not null and started_at is not null and finished_at is null and status <> 'queued';
-- rates, of a queue and of a lane; when a lane was last served
create index runs_begun on runs (queue, started_at) where queue is not null and started_at is not null;
create index runs_begun_in_lane on runs (queue, lane, started_at) where queue is not null and started_at is not null;

-- Where runs wait: a row for each lane of each workflow, with the run that is its next one. Derived from runs by the
-- triggers below, so that admission finds the next lane without a walk over all of them. `lane` is empty where the
-- queue has no key; `held` counts up to 1,000; `turn_at` is since when the lane waits for its turn: since it was last
-- served, or since its next run came.
create table lanes (
    queue text not null,
    lane text not null,
    workflow text not null,
    priority integer not null,
    asked_at integer not null,
    head integer not null,
    held integer not null,
    turn_at integer not null,
    primary key (queue, lane, workflow)
) strict, without rowid;

-- admission: the next lane of a queue
create index lanes_next on lanes (queue, workflow, priority, held, turn_at, head);

-- Not to be read: what is inserted here is derived anew.
create view changed_lanes as
select queue, lane, workflow
from runs
where queue is not null;

create trigger lane_derived instead of insert on changed_lanes
begin
    delete from lanes
    where queue = new.queue
        and lane = coalesce(new.lane, '')
        and workflow = new.workflow;
    insert into lanes (queue, lane, workflow, priority, asked_at, head, held, turn_at)
    select queue, coalesce(lane, ''), workflow, priority, created_at, key, 0, 0
    from runs
    where queue = new.queue
        and lane is new.lane
        and workflow = new.workflow
        and status = 'queued'
    order by priority desc, created_at, key
    limit 1;
    update lanes
    set held = (
            select count(*)
            from (
                select 1
                from runs indexed by runs_holding
                where queue = new.queue
                    and lane is new.lane
                    and started_at is not null
                    and finished_at is null
                    and status <> 'queued'
                limit 1000
            )
        ),
        turn_at = max(
            asked_at,
            coalesce(
                (
                    select max(started_at)
                    from runs
                    where queue = new.queue
                        and lane is new.lane
                        and started_at is not null
                ),
                0
            )
        )
    where queue = new.queue
        and lane = coalesce(new.lane, '');
end;

-- one more in a line changes nothing about who is first
create trigger run_queued after insert on runs
when new.queue is not null and not (
    new.status = 'queued' and exists (
        select 1
        from lanes
        where queue = new.queue
            and lane = coalesce(new.lane, '')
            and workflow = new.workflow
            and head < new.key
            and (priority > new.priority or (priority = new.priority and asked_at <= new.created_at))
    )
)
begin
    insert into changed_lanes values (new.queue, new.lane, new.workflow);
end;

create trigger run_moved after update of status, started_at, finished_at, queue, lane on runs
when (old.queue is not null or new.queue is not null) and (
    (old.status = 'queued') <> (new.status = 'queued')
    or (old.finished_at is null) <> (new.finished_at is null)
    or old.started_at is not new.started_at
    or old.queue is not new.queue
    or old.lane is not new.lane
)
begin
    insert into changed_lanes
    select old.queue, old.lane, old.workflow
    where old.queue is not null and (old.queue is not new.queue or old.lane is not new.lane);
    insert into changed_lanes
    select new.queue, new.lane, new.workflow
    where new.queue is not null;
end;

create trigger run_struck after delete on runs
when old.queue is not null
begin
    insert into changed_lanes values (old.queue, old.lane, old.workflow);
end;

-- what a client knows of limits: the options of each workflow as its last supervisor had them
create index definitions_latest on definitions (workflow, seen_at, options);
