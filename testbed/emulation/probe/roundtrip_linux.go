package probe

import (
	"context"
	"slices"
	"time"
)

// shot is one probe to be sent.
type shot struct {
	at  time.Duration // from the start
	job *job
	seq int
}

// reach sends probes over every pair until one is answered, so that addresses
// are resolved before anything is measured. A pair that never answers shows in
// what is measured of it.
func (r *run) reach(ctx context.Context, jobs []*job) error {
	const limit, again = time.Second, 100 * time.Millisecond
	r.Progress(0, r.total, "reachability")
	waiting := slices.Clone(jobs)
	for _, j := range waiting {
		j.flow = r.newFlow(j.from, 1)
		defer j.from.forget(j.flow)
	}
	for began := time.Now(); len(waiting) > 0 && time.Since(began) < limit; {
		longest := again
		for _, j := range waiting {
			_ = j.from.echo(j.to, j.flow.id, 0)
			longest = max(longest, 2*(j.link.Delay+j.back.Delay))
		}
		if err := r.await(ctx, waiting, longest); err != nil {
			return err
		}
		waiting = slices.DeleteFunc(waiting, func(j *job) bool { return j.flow.complete() })
	}
	return nil
}

// await waits until the flows of all jobs are done, at most for limit.
func (r *run) await(ctx context.Context, jobs []*job, limit time.Duration) error {
	t := time.NewTimer(limit)
	defer t.Stop()
	for _, j := range jobs {
		select {
		case <-j.flow.done:
		case <-t.C:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// roundTrips measures those of all jobs at once: the probes of each pair are
// spread over the time that all of them take.
func (r *run) roundTrips(ctx context.Context, what string, jobs []*job, attempt int) error {
	var span, slowest time.Duration
	total := 0
	sentAt := map[*job][]int64{}
	for _, j := range jobs {
		n, every := probing(j.link, j.back, j.from.header(), r.alpha)
		span = max(span, time.Duration(n)*every)
		total += n
		sentAt[j] = make([]int64, n)
		j.flow = r.newFlow(j.from, n)
		defer j.from.forget(j.flow)
		slowest = max(slowest, j.link.Delay+j.link.Jitter+j.back.Delay+j.back.Jitter)
	}
	span = max(span, time.Duration(total)*probeGap)

	shots := make([]shot, 0, total)
	for _, j := range jobs {
		n := len(sentAt[j])
		offset := r.rng.Float64() // pairs are not in step
		for i := range n {
			shots = append(shots, shot{time.Duration((float64(i) + offset) / float64(n) * float64(span)), j, i})
		}
	}
	slices.SortFunc(shots, func(a, b shot) int { return int(a.at - b.at) })
	refused := map[*job]error{}
	began := time.Now()
	for _, s := range shots {
		if err := wait(ctx, time.Until(began.Add(s.at))); err != nil {
			return err
		}
		sentAt[s.job][s.seq] = time.Now().UnixNano()
		if err := s.job.from.echo(s.job.to, s.job.flow.id, s.seq); err != nil && refused[s.job] == nil {
			refused[s.job] = err
		}
	}
	if err := r.await(ctx, jobs, 2*slowest+300*time.Millisecond); err != nil {
		return err
	}

	for _, j := range jobs {
		var trips []time.Duration
		for _, a := range j.flow.taken() {
			trips = append(trips, time.Duration(a.at-sentAt[j][a.seq])-a.held)
		}
		median, v := judgeTrips(j.link, j.back, j.from.header(), trips, len(sentAt[j]), r.alpha)
		v.Found = because(v.Found, refused[j])
		j.check.RoundTrip = median
		j.verdict(v)
		if j.link.Jitter+j.back.Jitter > 0 {
			jittery, less := judgeJitter(j.link, j.back, trips, r.alpha)
			j.verdict(v, jittery)
			j.final = less
		}
		r.progress(what, attempt)
	}
	return nil
}

// echo sends a probe. That a packet is refused is a loss, of which the error
// tells the cause.
func (n *node) echo(to *node, flow uint32, seq int) error {
	var b [smallSize]byte
	packet{token: n.token, flow: flow, seq: uint32(seq), kind: echo}.put(b[:])
	_, err := n.conn.WriteToUDPAddrPort(b[:], to.addr)
	return err
}

// because adds to what was found why packets were refused.
func because(found string, err error) string {
	if err == nil {
		return found
	}
	return found + ": " + err.Error()
}
