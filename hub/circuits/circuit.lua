-- One breaker of the fleet: every change of its state, in one step, by the clock of Redis.
-- The rules are those of policy.py, function by function; the tests run both against each other.
--
-- KEYS: the circuit (hash), its probes (zset id -> end of lease), its last failures (list),
--       transitions of all circuits (stream), names of all circuits (zset name -> last change)
-- ARGV: operation, its arguments as JSON. Returns JSON.

local CIRCUIT, PROBES, FAILURES, TRANSITIONS, NAMES = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local operation, args = ARGV[1], cjson.decode(ARGV[2])
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

local SLICES = 10
local KEPT_FAILURES = 20
local KEPT_TRANSITIONS = 10000
local IDLE_MS = 86400000

-- ---------------------------------------------------------------- load

local NUMBERS = { 'generation', 'failures', 'successes', 'openings', 'open_until_ms', 'manual_until_ms', 'seq', 'shadow', 'slice_ms' }
local TEXTS = { 'why', 'manual', 'manual_by', 'manual_why', 'overrides' }
local c = { state = 'closed', window = {} }
local known = false

for _, name in ipairs(NUMBERS) do c[name] = 0 end
for _, name in ipairs(TEXTS) do c[name] = '' end

local stored = redis.call('HGETALL', CIRCUIT)
for i = 1, #stored, 2 do
  local name, value = stored[i], stored[i + 1]
  known = true
  local number = string.match(name, '^w(%d+)$')
  if number then
    local ok, failed, slow = string.match(value, '^(%d+),(%d+),(%d+)$')
    c.window[tonumber(number)] = { tonumber(ok), tonumber(failed), tonumber(slow) }
  elseif type(c[name]) == 'number' then
    c[name] = tonumber(value)
  else
    c[name] = value
  end
end

if not known then
  if operation ~= 'look' and redis.call('ZCARD', NAMES) >= args.max_names then
    return cjson.encode({ error = 'too_many' })
  end
  -- Numbers start at the time, so that those of a circuit whose state was lost are never met again.
  c.generation = now
  c.seq = now
end

local config = args.config
if c.overrides ~= '' then
  for name, value in pairs(cjson.decode(c.overrides)) do config[name] = value end
end
local function number_of(name)
  return type(config[name]) == 'number' and config[name] or nil
end
local max_open_ms = math.floor(1000 * (number_of('max_timeout_sec') or 10 * config.timeout_sec))
local slice_ms = math.max(1, math.floor(config.window_size_sec * 1000 / SLICES))
-- Who only looks need not know the policy of those who call, and changes nothing by his own.
if operation == 'look' and c.slice_ms > 0 then slice_ms = c.slice_ms end
local slice = math.floor(now / slice_ms)

if c.slice_ms ~= slice_ms then -- another window size: its slices have other numbers
  c.slice_ms, c.window = slice_ms, {}
end

local before = { quiet = c.state == 'closed' and c.failures == 0, seq = c.seq }
local moves = {}

-- ---------------------------------------------------------------- rules

local function effective()
  return c.manual ~= '' and c.manual or c.state
end

local function totals()
  local ok, failed, slow = 0, 0, 0
  for number, counts in pairs(c.window) do
    if number > slice - SLICES then
      ok, failed, slow = ok + counts[1], failed + counts[2], slow + counts[3]
    end
  end
  return ok, failed, slow
end

local function note_move(from, why, extra)
  local ok, failed, slow = totals()
  local case = { consecutive_failures = c.failures, calls = ok + failed, failed = failed, slow = slow, failures = redis.call('LRANGE', FAILURES, 0, -1) }
  moves[#moves + 1] = { from = from, to = effective(), why = why, case = case, extra = extra or {} }
end

local function moved(state, why)
  local from = effective()
  c.state, c.why = state, why
  c.generation = c.generation + 1
  c.successes = 0
  redis.call('DEL', PROBES)
  note_move(from, why)
end

local function fresh(why, manual, until_ms, by, reason)
  local from = effective()
  local extra = { by = by or '', reason = reason or '', until_ms = until_ms or 0 }
  note_move(from, why, extra)
  c.state, c.why, c.generation = 'closed', why, c.generation + 1
  c.failures, c.successes, c.openings, c.open_until_ms, c.shadow = 0, 0, 0, 0, 0
  c.manual, c.manual_until_ms = manual or '', until_ms or 0
  c.manual_by, c.manual_why = manual and by or '', manual and reason or ''
  c.window = {}
  moves[#moves].to = effective()
  redis.call('DEL', PROBES, FAILURES)
end

local function expire_force()
  if c.manual ~= '' and c.manual_until_ms <= now then
    fresh('force_expired')
  end
end

local function count(ok, failed, slow)
  local counts = c.window[slice] or { 0, 0, 0 }
  c.window[slice] = { counts[1] + ok, counts[2] + failed, counts[3] + slow }
end

local function tripped_by()
  if c.failures >= config.failure_threshold then return 'consecutive_failures' end
  local ok, failed, slow = totals()
  local calls = ok + failed
  if calls < config.minimum_calls then return nil end
  if failed >= config.error_rate_threshold * calls then return 'error_rate' end
  if slow >= config.slow_rate_threshold * calls then return 'slow_rate' end
  return nil
end

local function open_ms()
  if c.openings <= 1 then return math.min(math.floor(config.timeout_sec * 1000), max_open_ms) end
  local grown = math.min(config.timeout_sec * 1000 * 2 ^ math.min(c.openings - 1, 30), max_open_ms)
  return math.floor(grown * (1 - 0.1 * args.jitter))
end

local function open(why)
  c.openings = c.openings + 1
  c.open_until_ms = now + open_ms()
  moved('open', why)
end

local function open_softly(retry_after_ms)
  c.open_until_ms = now + math.min(retry_after_ms, max_open_ms)
  moved('open', 'retry_after')
end

local function judge(retry_after_ms)
  local why = tripped_by()
  if why then
    open(why)
  elseif retry_after_ms > 0 then
    open_softly(retry_after_ms)
  end
end

-- What the rules would have done is worth one record per forced period, not one per call.
local function shadow()
  if c.manual ~= 'metrics_only' or c.shadow == 1 then return end
  local why = tripped_by()
  if why then
    c.shadow = 1
    note_move(effective(), 'would_open_' .. why)
  end
end

local function record_good(generation, ok, slow)
  if ok == 0 or generation ~= c.generation then return end
  if c.manual == '' and c.state ~= 'closed' then return end
  count(ok, 0, slow)
  if c.manual == '' then judge(0) else shadow() end
end

local function record_probe()
  local lease = tonumber(redis.call('ZSCORE', PROBES, args.probe_id) or '0')
  if c.state ~= 'half_open' or lease <= now then return end
  redis.call('ZREM', PROBES, args.probe_id)
  if not args.ok and args.retry_after_ms > 0 then
    open_softly(args.retry_after_ms)
  elseif not args.ok then
    open('probe_failed')
  else
    c.successes = c.successes + 1
    if c.successes >= config.success_threshold then fresh('probes_succeeded') end
  end
end

local function record()
  if args.generation ~= c.generation then return end
  if not args.ok then
    redis.call('LPUSH', FAILURES, args.failure)
    redis.call('LTRIM', FAILURES, 0, KEPT_FAILURES - 1)
  end
  local ok, slow = args.ok and 1 or 0, args.slow and 1 or 0
  if c.manual ~= '' then
    count(ok, 1 - ok, slow)
    c.failures = args.ok and 0 or c.failures + 1
    shadow()
  elseif c.state == 'closed' then
    count(ok, 1 - ok, slow)
    c.failures = args.ok and 0 or c.failures + 1
    judge(args.retry_after_ms)
  else
    record_probe()
  end
end

local function admit_probe()
  if c.successes >= config.success_threshold then -- the threshold was lowered meanwhile
    fresh('probes_succeeded')
    return { admitted = true }
  end
  redis.call('ZREMRANGEBYSCORE', PROBES, '-inf', now)
  local alive = redis.call('ZCARD', PROBES)
  local wanted = math.max(config.half_open_requests, config.success_threshold)
  if alive + c.successes >= wanted or alive >= config.half_open_requests then
    local first = redis.call('ZRANGE', PROBES, 0, 0, 'WITHSCORES')
    return { admitted = false, why = 'probes_taken', retry_after_ms = tonumber(first[2]) - now }
  end
  redis.call('ZADD', PROBES, now + args.lease_ms, args.probe_id)
  redis.call('PEXPIRE', PROBES, IDLE_MS)
  return { admitted = true, probe_id = args.probe_id }
end

local function admit()
  if c.manual == 'forced_open' then
    return { admitted = false, why = 'forced_open', retry_after_ms = c.manual_until_ms - now }
  end
  if c.manual ~= '' or c.state == 'closed' then return { admitted = true } end
  if c.state == 'open' then
    if now < c.open_until_ms then
      return { admitted = false, why = 'open', retry_after_ms = c.open_until_ms - now }
    end
    moved('half_open', 'timeout_over')
  end
  return admit_probe()
end

-- ---------------------------------------------------------------- store

local function snapshot()
  local ok, failed, slow = totals()
  return {
    state = c.state, generation = c.generation, failures = c.failures, successes = c.successes, openings = c.openings,
    open_until_ms = c.open_until_ms, why = c.why, manual = c.manual, manual_until_ms = c.manual_until_ms,
    manual_by = c.manual_by, manual_why = c.manual_why, overrides = c.overrides, seq = c.seq,
    ok = ok, failed = failed, slow = slow, probes = redis.call('ZCARD', PROBES), now_ms = now,
  }
end

local function store()
  local flat, stale = { 'state', c.state }, {}
  for _, name in ipairs(NUMBERS) do flat[#flat + 1] = name; flat[#flat + 1] = string.format('%.0f', c[name]) end
  for _, name in ipairs(TEXTS) do flat[#flat + 1] = name; flat[#flat + 1] = c[name] end
  for number, counts in pairs(c.window) do
    if number > slice - SLICES then
      flat[#flat + 1] = string.format('w%.0f', number)
      flat[#flat + 1] = string.format('%.0f,%.0f,%.0f', counts[1], counts[2], counts[3])
    end
  end
  for i = 1, #stored, 2 do
    local number = tonumber(string.match(stored[i], '^w(%d+)$') or '')
    if number and (number <= slice - SLICES or not c.window[number]) then stale[#stale + 1] = stored[i] end
  end
  if #stale > 0 then redis.call('HDEL', CIRCUIT, unpack(stale)) end
  redis.call('HSET', CIRCUIT, unpack(flat))
  local kept_until = math.max(now, c.open_until_ms, c.manual_until_ms) + IDLE_MS
  redis.call('PEXPIREAT', CIRCUIT, string.format('%.0f', c.overrides ~= '' and kept_until + 30 * IDLE_MS or kept_until))
  redis.call('PEXPIRE', FAILURES, IDLE_MS)
end

local function tell()
  for _, move in ipairs(moves) do
    move.service, move.at_ms, move.generation = args.service, now, c.generation
    move.worker, move.trace_id, move.open_until_ms = args.worker, args.trace_id, c.open_until_ms
    redis.call('XADD', TRANSITIONS, 'MAXLEN', '~', KEPT_TRANSITIONS, '*', 'move', cjson.encode(move))
  end
  local quiet = c.state == 'closed' and c.failures == 0
  if #moves > 0 or quiet ~= before.quiet or operation == 'configure' then
    c.seq = c.seq + 1
    redis.call('ZADD', NAMES, now, args.service)
  elseif not known and operation ~= 'look' then
    redis.call('ZADD', NAMES, now, args.service)
  end
end

-- ---------------------------------------------------------------- run

expire_force()
record_good(args.good_generation or 0, args.good or 0, args.good_slow or 0)

local reply = {}
if operation == 'admit' then
  reply = admit()
elseif operation == 'record' then
  record()
elseif operation == 'release' then
  redis.call('ZREM', PROBES, args.probe_id)
elseif operation == 'force' then
  fresh(args.why, args.manual, now + args.for_ms, args.by, args.reason)
elseif operation == 'reset' then
  fresh(args.why, nil, nil, args.by, args.reason)
elseif operation == 'configure' then
  c.overrides = args.overrides
end

tell()
if known or operation ~= 'look' then store() end
local seen = snapshot()
if c.seq ~= before.seq then
  redis.call('PUBLISH', args.channel, cjson.encode({ service = args.service, circuit = seen }))
end
reply.circuit = seen
reply.moved = #moves
return cjson.encode(reply)
