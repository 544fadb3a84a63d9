-- A process of the city ends. ARGV 3 its name. Returns how many others go on.

redis.call('ZREM', PROCESSES, ARGV[3])
return redis.call('ZCOUNT', PROCESSES, int(NOW - LONGEST_SILENCE), '+inf')
