-- What all scripts of the presence store share: the state machine of city/presence.py, for many processes at once.
--
-- KEYS 1 subjects   hash: subject -> {st, m, a, q, s}: status, status text, last active (ms), number of its newest change,
--                   sessions {name, status, is placed}, oldest first
--      2 deadlines  sorted set: "<length of subject>:<subject><session>" -> when the session ends (ms). A heartbeat that
--                   changes nothing writes here only.
--      3 changes    stream: every transition, in the order of its number
--      4 meta       hash: era, seq (number of the newest change), seen (when a process of the city last looked for sessions
--                   to end, ms), hold (no session expires before that time, ms)
--      5 processes  sorted set: the name of each process of the city -> when it last looked for sessions to end (ms)
-- ARGV 1 the time in ms since 1970, or '' for the server's own   2 how long a session lasts, in ms

local SUBJECTS, DEADLINES, CHANGES, META, PROCESSES = unpack(KEYS)
local HISTORY = 20000
local LONGEST_SILENCE = 3000
local STRENGTH = {offline = 0, away = 1, online = 2}

local function server_us()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

local US = ARGV[1] ~= '' and ARGV[1] * 1000 or server_us()
local NOW, TTL = math.floor(US / 1000), tonumber(ARGV[2])

local function int(number)
  return string.format('%.0f', number)
end

local function member(subject, session)
  return #subject .. ':' .. subject .. session
end

local function read(subject)
  local text = redis.call('HGET', SUBJECTS, subject)
  if text then
    return cjson.decode(text)
  end
end

local function write(subject, it)
  redis.call('HSET', SUBJECTS, subject, cjson.encode(it))
end

local function find(it, name)
  for index, session in ipairs(it.s) do
    if session[1] == name then
      return session, index
    end
  end
end

-- An online session's last heartbeat is known by its deadline alone.
local function note_activity(subject, it, session)
  if session[2] == 'online' and not session[3] then
    local deadline = redis.call('ZSCORE', DEADLINES, member(subject, session[1]))
    if deadline then
      it.a = math.max(it.a or 0, deadline - TTL)
    end
  end
end

local function next_seq()
  redis.call('HSETNX', META, 'seq', int(US))
  local seq = redis.call('HINCRBY', META, 'seq', 1)
  return int(seq), int(seq - 1)
end

-- Show a subject as its sessions say. Returns the number of the change, if there is one.
local function show(subject, it, keep, text)
  local status = 'offline'
  for _, session in ipairs(it.s) do
    if STRENGTH[session[2]] > STRENGTH[status] then
      status = session[2]
    end
  end
  if keep then
    text = nil
    if status ~= 'offline' then
      text = it.m
    end
  end
  if status == it.st and text == it.m then
    return nil
  end
  for _, session in ipairs(it.s) do
    note_activity(subject, it, session)
  end
  local seq, before = next_seq()
  it.st, it.m, it.q = status, text, seq
  local entry = {'p', before, 's', subject, 'c', status}
  if text then
    entry[#entry + 1], entry[#entry + 2] = 'm', text
  end
  if it.a then
    entry[#entry + 1], entry[#entry + 2] = 'a', int(it.a)
  end
  redis.call('XADD', CHANGES, 'MAXLEN', '~', HISTORY, seq .. '-0', unpack(entry))
  return seq
end

-- Every process looks for expired sessions once a second. If none did for a while, heartbeats did not arrive either: then
-- no session expires before it had the time to send another heartbeat.
local function note_silence(is_closed)
  local seen = tonumber(redis.call('HGET', META, 'seen') or NOW)
  local silence = NOW - seen
  redis.call('HSET', META, 'seen', int(math.max(NOW, seen)))
  if silence <= LONGEST_SILENCE then
    return
  end
  if not is_closed or silence <= TTL then
    redis.call('HSET', META, 'hold', int(NOW + TTL))
  elseif redis.call('ZCARD', PROCESSES) > 0 then
    redis.call('HSET', META, 'hold', int(NOW + LONGEST_SILENCE))
  end
end

local function remove(subject, it, index)
  note_activity(subject, it, it.s[index])
  redis.call('ZREM', DEADLINES, member(subject, it.s[index][1]))
  table.remove(it.s, index)
end

local function finish(subject, it, name, keep, text)
  local _, index = find(it, name)
  if index then
    remove(subject, it, index)
  end
  local seq = show(subject, it, keep or #it.s > 0, text)
  write(subject, it)
  return seq
end
