-- What every data test has read is forgotten, see forget_what_was_tested: one row per model, symbol and build was kept for good.
grant delete on canonical.live_growths to transformer;
comment on table canonical.live_growths is
'What builds added to a history, until every data test has read it: rows of the symbol after bar_start. What they took back is '
'in live_regrowths.';
