-- KEYS: jobs. ARGV: job. Returns whether it waits or is being done.
return #redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])
