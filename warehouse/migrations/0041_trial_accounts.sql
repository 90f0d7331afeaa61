-- A trial's account is kept as it was: what was traded when, what that and borrowing cost, what cash earned, and what
-- buy-and-hold earned beside it. Positions drift with prices, so none of it follows from the positions alone.

alter table research.trial_returns
add column trade float8 not null default 0,
add column benchmark_return float8 not null default 0,
add column interest float8 not null default 0,
add constraint account_is_numbers check (
    trade > '-Infinity' and trade < 'Infinity'
    and benchmark_return > '-Infinity' and benchmark_return < 'Infinity'
    and interest > '-Infinity' and interest < 'Infinity'
) not valid;
comment on table research.trial_returns is
'Out-of-sample path of a trial: decided at the close of bar_start, what happened from the open of the grid''s next bar to the open after.';
comment on column research.trial_returns.score is
'score of the bar, or of the earlier one whose decision is filled at the open; null where there is neither: nothing is traded then, and a position is held';
comment on column research.trial_returns.position is
'signed fraction of equity held in this symbol, after the trade; it moves with prices between trades';
comment on column research.trial_returns.trade is 'signed change of the position at the open, as a fraction of equity';
comment on column research.trial_returns.asset_return is
'simple return of the symbol over the bar, from the newest open with trades; a move across missing bars falls on the first after them';
comment on column research.trial_returns.benchmark_return is
'what the symbol adds to the return of buy-and-hold: equal money in every symbol at the first open, nothing traded since';
comment on column research.trial_returns.cost is 'cost of trading and of borrowing, as a fraction of equity; the last row pays the exit';
comment on column research.trial_returns.interest is 'the symbol''s share of what was earned on cash, as a fraction of equity';
comment on column research.trial_returns.net_return is
'position * asset_return - cost + interest: contribution to the trial''s net return';

alter table research.trials add column left_out jsonb not null default '{}';
comment on column research.trials.left_out is
'Rows of the out-of-sample window: expected, and of them missing, silent (nobody traded), unready, and unlabelled.';
grant insert (left_out) on research.trials to trainer;
