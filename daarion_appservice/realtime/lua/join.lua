-- A process of the city begins, or comes back, and sets a mark in the stream of changes: nobody is told one by one any more
-- what came before it. The numbers right below the mark are that process's own, for what it finds changed meanwhile.
--
-- ARGV 3 the newest number that it gave to its clients, and 4 the newest that it read here; '0' for none
--      5 how many numbers it may need   6 the era that it knows, or ''
-- Returns {the mark, the era}: a new era begins whenever this store lost what it held, all of it or the newest.

local stored = redis.call('HGET', META, 'seq')
local era = redis.call('HGET', META, 'era')
if not era or (era == ARGV[6] and tonumber(stored) < tonumber(ARGV[4])) then
  era = int(US)
  redis.call('HSET', META, 'era', era)
end
local mark = int(math.max(US, tonumber(stored or 0), tonumber(ARGV[3])) + tonumber(ARGV[5]))
redis.call('HSET', META, 'seq', mark)
redis.call('XADD', CHANGES, 'MAXLEN', '~', HISTORY, mark .. '-0', 'p', stored or '0')
-- Where even this process is new, and nobody was heard for longer than anybody lives, the city was closed; unless some
-- process never said that it ends, and is about to say who kept beating there while this store was away.
note_silence(ARGV[6] == '')
return {mark, era}
