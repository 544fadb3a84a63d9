-- KEYS 1 the stream of events   2 the number of the newest   ARGV 1 who says it   2 the event
-- Every event has a number, one more than the one before it, so that a reader knows when it missed one.

local number = redis.call('INCR', KEYS[2])
return redis.call('XADD', KEYS[1], 'MAXLEN', '~', 10000, number .. '-0', 'from', ARGV[1], 'event', ARGV[2])
