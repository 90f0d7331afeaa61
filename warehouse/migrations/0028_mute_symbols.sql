-- A socket that sends nothing of one symbol looks alive: its holes are filled over REST, and nobody hears of it.

alter table raw.feeds add column mute_symbols text [] not null default '{}';
comment on column raw.feeds.mute_symbols is
'symbols of which the connection sends nothing although the vendor has newer bars over REST; the feed itself may be live';
