-- A write that was given up may end behind the end of its run, and is recorded: what counts for retention is the last
-- event that opens or ends the run, not simply the last one.

drop trigger struck_finished;

create trigger struck_finished before insert on struck
when coalesce(
    (
        select type
        from events
        where run = new.run
            and type in ('RUN_CREATED', 'RUN_RETRIED', 'RUN_COMPLETED', 'RUN_FAILED', 'RUN_CANCELLED')
        order by seq desc
        limit 1
    ) not in ('RUN_COMPLETED', 'RUN_FAILED', 'RUN_CANCELLED'),
    true
)
begin
    select raise(abort, 'vbl: only a finished run can be struck');
end;
