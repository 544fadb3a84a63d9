-- A process starts, or reconnects, and sets a mark in the stream of changes: the changes before the mark cannot be replayed
-- one by one. The process uses the numbers directly below the mark for the changes that it finds since it was connected.
--
-- ARGV 3 the newest number that it sent to its clients, and 4 the newest that it read here; '0' for none
--      5 the most numbers that it may need   6 the era that it knows, or ''
-- Returns {the mark, the era}: a new era begins when Redis has lost data, all of it or the newest.

local stored = redis.call('HGET', META, 'seq')
local era = redis.call('HGET', META, 'era')
if not era or (era == ARGV[6] and tonumber(stored) < tonumber(ARGV[4])) then
  era = int(US)
  redis.call('HSET', META, 'era', era)
end
local mark = int(math.max(US, tonumber(stored or 0), tonumber(ARGV[3])) + tonumber(ARGV[5]))
redis.call('HSET', META, 'seq', mark)
redis.call('XADD', CHANGES, 'MAXLEN', '~', HISTORY, mark .. '-0', 'p', stored or '0')
-- If this process is new, too, and no heartbeat arrived for longer than a session's lifetime, the city was closed; unless a
-- process is registered that did not end, and will send the sessions that stayed online while Redis was down.
note_silence(ARGV[6] == '')
return {mark, era}
