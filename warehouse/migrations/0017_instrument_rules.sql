alter table canonical.live_watermarks add column rules text;
comment on column canonical.live_watermarks.rules is
'What the symbol''s history was computed by, where the model follows rules of its symbols: when they change, the history is taken back to its beginning. Null before a first build that notes them.';
