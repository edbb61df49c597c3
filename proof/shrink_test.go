package proof

// smaller are configs with a little less of something.
func (c config) smaller() []config {
	var all []config
	try := func(change func(*config)) {
		s := c
		change(&s)
		all = append(all, s)
	}
	if c.partitions > 1 {
		try(func(s *config) { s.partitions = 1 })
	}
	if c.owners > 1 {
		try(func(s *config) { s.owners-- })
	}
	if c.rewinds > 0 {
		try(func(s *config) { s.rewinds-- })
	}
	for _, steps := range []int{c.steps / 2, c.steps - 1} {
		if steps > 0 {
			try(func(s *config) { s.steps = steps })
		}
	}
	for bit := mix(1); bit < mix(mixes()); bit <<= 1 {
		if c.faults&bit != 0 {
			try(func(s *config) { s.faults &^= bit })
		}
	}
	if c.deletes {
		try(func(s *config) { s.deletes = false })
	}
	return all
}

// shrink looks for a smaller config that fails too, under the same seed or one of some others.
func shrink(c config, fails func(config) bool) config {
	seeds := uint64(100)
	if raceEnabled {
		seeds = 3
	}
	for again := true; again; {
		again = false
		for _, small := range c.smaller() {
			for i := uint64(0); i < seeds && !again; i++ {
				if i > 0 {
					small.seed = i
				}
				again = fails(small)
			}
			if again {
				c = small
				break
			}
		}
	}
	return c
}
