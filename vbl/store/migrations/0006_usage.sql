-- What the calls of models used: a row a call, as the end of the attempt that made it says, however it ended.

drop view vbl_costs;

create view vbl_costs as
select
    runs.id as run_id,
    json_extract(events.payload, '$.step') as step,
    json_extract(call.value, '$.provider') as provider,
    json_extract(call.value, '$.model') as model,
    json_extract(call.value, '$.input_tokens') as input_tokens,
    json_extract(call.value, '$.output_tokens') as output_tokens,
    json_extract(call.value, '$.usd') as usd,
    json_extract(call.value, '$.cached_tokens') as cached_tokens,
    events.seq,
    events.at
from events
join runs on runs.key = events.run
join json_each(
    case
        when json_type(events.payload, '$.usage.calls') = 'array' then json_extract(events.payload, '$.usage.calls')
        else json_array(json_extract(events.payload, '$.usage'))
    end
) as call
where events.type in ('STEP_COMPLETED', 'STEP_FAILED', 'STEP_INTERRUPTED', 'STEP_CANCELLED')
    and json_extract(events.payload, '$.usage') is not null;
