-- A release answers the act that somebody has read: one that came since stands. So does whatever else says what it answers.

drop function ledger.instruct_account(text, text, text);
create function ledger.instruct_account(account text, action text, reason text, answers bigint) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    newest ledger.halts;
begin
    -- acts of one account take turns
    perform from ledger.accounts where accounts.account_id = account for no key update;
    select * into newest from ledger.halts where halts.account_id = account order by halts.halt_id desc limit 1;
    -- 0 answers an account that was told nothing yet
    if (instruct_account.action = 'release' or answers is not null) and coalesce(newest.halt_id, 0) <> coalesce(answers, 0) then
        raise exception 'account % was told to % since: %; it stands until that is answered', account, newest.action, newest.reason
            using errcode = 'object_not_in_prerequisite_state';
    end if;
    perform ledger.append_halt(account, instruct_account.action, instruct_account.reason);
end $$;
comment on function ledger.instruct_account is
'Say what an account may do from now on, such as to trade again: an act of the operator. A release names the act that it answers; of another act null answers whatever there is.';
revoke execute on function ledger.instruct_account from public;
grant execute on function ledger.instruct_account to operator;
