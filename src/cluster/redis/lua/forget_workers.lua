-- KEYS: jobs. ARGV: group, after how long a worker that holds nothing counts as gone (ms), one that says that it goes.
local workers = redis.pcall('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])
if workers.err then return 0 end
local forgotten = 0
for _, fields in ipairs(workers) do
  local worker = {}
  for index = 1, #fields, 2 do worker[fields[index]] = fields[index + 1] end
  local gone = worker.idle >= tonumber(ARGV[2]) or worker.name == ARGV[3]
  -- What it held would be nobody's.
  if gone and worker.pending == 0 then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], worker.name)
    forgotten = forgotten + 1
  end
end
return forgotten
