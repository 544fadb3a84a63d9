-- ARGV 3 the most sessions of one subject
--      4 JSON: [[subject, session, status, keep text?, text or null, age in ms, placed?, last active or null], ...]
-- Returns JSON: [[number of the change or "", status, text], ...], one for each, in the same order.

local MAX_SESSIONS = tonumber(ARGV[3])

-- A late update (age > 0) is ignored if its session has a newer one, or if the session would have ended by now.
local function is_outdated(said, deadline, age, name)
  if age == 0 then
    return false
  end
  if deadline <= NOW and said.status ~= 'offline' then
    return true
  end
  local known = redis.call('ZSCORE', DEADLINES, name)
  return known and tonumber(known) > deadline
end

local function live(subject, it, said, deadline)
  local known, changed = find(it, said.session), false
  if known and (known[2] ~= said.status or (known[3] or false) ~= said.placed) then
    note_activity(subject, it, known)
    changed = true
  elseif not known then
    if #it.s >= MAX_SESSIONS then
      remove(subject, it, 1)
    end
    known, changed = {said.session}, true
    it.s[#it.s + 1] = known
  end
  redis.call('ZADD', DEADLINES, int(deadline), member(subject, said.session))
  if said.active and said.active > (it.a or 0) then
    it.a, changed = said.active, true
  end
  if not changed and (said.keep or said.text == it.m) then
    return nil
  end
  known[2], known[3] = said.status, said.placed or nil
  local seq = show(subject, it, said.keep, said.text)
  write(subject, it)
  return seq
end

local function value(found)
  if found ~= cjson.null then
    return found
  end
end

local function beat(item)
  local subject, age = item[1], item[6]
  local said = {
    session = item[2], status = item[3], keep = item[4], text = value(item[5]), placed = item[7], active = value(item[8]),
  }
  local it = read(subject)
  local deadline = NOW - age + TTL
  if is_outdated(said, deadline, age, member(subject, said.session)) then
    return it
  end
  if said.status == 'offline' then
    return it, it and finish(subject, it, said.session, said.keep, said.text)
  end
  it = it or {st = 'offline', s = {}}
  return it, live(subject, it, said, deadline)
end

local answers = {}
for _, item in ipairs(cjson.decode(ARGV[4])) do
  local it, seq = beat(item)
  answers[#answers + 1] = {seq or '', it and it.st or 'offline', it and it.m}
end
return cjson.encode(answers)
