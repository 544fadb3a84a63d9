-- KEYS 1 the stream of events   2 the number of the newest   ARGV 1 who says it   2 the event, or '' to know the newest number
-- Every event has a number, one more than the one before it, so that a reader knows when it missed one. The first is the
-- time in microseconds, so that a reader also detects that the store lost its data and was filled again.

if redis.call('EXISTS', KEYS[2]) == 0 then
  local time = redis.call('TIME')
  redis.call('SET', KEYS[2], string.format('%.0f', time[1] * 1000000 + time[2]))
end
if ARGV[2] == '' then
  return redis.call('GET', KEYS[2])
end
local number = string.format('%.0f', redis.call('INCR', KEYS[2]))
return redis.call('XADD', KEYS[1], 'MAXLEN', '~', 10000, number .. '-0', 'from', ARGV[1], 'event', ARGV[2])
