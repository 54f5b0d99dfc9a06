-- Finding runs: what they cost, when they ended, and the words in them.

alter table runs add column usd real;

drop view vbl_runs;

create view vbl_runs as
select id, workflow, version, status, start_key as key, parent_id, created_at, updated_at, finished_at, wake_at, seq,
    tags, priority, usd
from runs;

-- cost:>0.1; only runs whose cost is known
create index runs_with_cost on runs (id, usd) where usd is not null;
-- throughput: how many ended lately, and how
create index runs_ended on runs (finished_at, status) where finished_at is not null;
-- counts of the user's runs: those of vbl's own workflows (vbl.…) are taken off
create index runs_of_vbl on runs (status, id) where workflow >= 'vbl.' and workflow < 'vbl/';

-- The words of each run's input, output and errors, its key and its tags; rowid is the run's key. Derived and
-- disposable: it is behind the events, up to the one that `run_texts_upto` names, and catches up by itself.
create virtual table run_texts using fts5 (text, tokenize = "unicode61 remove_diacritics 2");

create table run_texts_upto (
    one integer primary key check (one = 1),
    event integer not null
) strict;

insert into run_texts_upto values (1, 0);

create trigger run_texts_struck after delete on runs
begin
    delete from run_texts where rowid = old.key;
end;
