-- ARGV 3 how many sessions to end at most   4 the name of the process that asks
-- Returns JSON: {"ended": [[subject, status, ms that its last session has left], ...], "wait": ms until the next deadline or null,
-- "era": that of what this store holds, nothing if it lost it}.

local function left(subject, it)
  local latest = 0
  for _, session in ipairs(it.s) do
    latest = math.max(latest, redis.call('ZSCORE', DEADLINES, member(subject, session[1])) or 0)
  end
  return latest - NOW
end

local function split(name)
  local colon = string.find(name, ':', 1, true)
  local length = tonumber(string.sub(name, 1, colon - 1))
  return string.sub(name, colon + 1, colon + length), string.sub(name, colon + length + 1)
end

note_silence(false)
redis.call('ZADD', PROCESSES, int(NOW), ARGV[4])
redis.call('ZREMRANGEBYSCORE', PROCESSES, '-inf', int(NOW - TTL))

local era = redis.call('HGET', META, 'era') or nil
local hold = tonumber(redis.call('HGET', META, 'hold') or 0)
if hold > NOW then
  return cjson.encode({ended = {}, wait = hold - NOW, era = era})
end

local ended = {}
for _, name in ipairs(redis.call('ZRANGE', DEADLINES, '-inf', int(NOW), 'BYSCORE', 'LIMIT', 0, ARGV[3])) do
  local subject, session = split(name)
  local it = read(subject)
  if it then
    finish(subject, it, session, false, nil)
    ended[#ended + 1] = {subject, it.st, left(subject, it)}
  end
  redis.call('ZREM', DEADLINES, name)
end

local first = redis.call('ZRANGE', DEADLINES, 0, 0, 'WITHSCORES')
return cjson.encode({ended = ended, wait = first[2] and math.max(0, first[2] - NOW) or cjson.null, era = era})
