package probe

import (
	"context"
	"errors"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"
)

// cuts sends packets over links that are to pass none.
func (r *run) cuts(ctx context.Context, what string, jobs []*job, attempt int) error {
	return r.sideBySide(ctx, what, jobs, attempt, lossPPSAll, measurement{
		plan:   func(*job) stream { return cutting() },
		weight: func(_ *job, s stream) float64 { return s.pps },
		judge: func(j *job, s stream, out sent, came []arrival) {
			j.check.Sent, j.check.Lost = out.n, out.n-len(came)
			j.verdict(judgeCut(len(came), out.n))
		},
		wait: func(ctx context.Context, j *job, _ stream) error {
			return r.await(ctx, []*job{j}, j.link.Delay+j.link.Jitter+300*time.Millisecond)
		},
	})
}

// losses counts what arrives of small packets.
func (r *run) losses(ctx context.Context, what string, jobs []*job, attempt int) error {
	return r.sideBySide(ctx, what, jobs, attempt, lossPPSAll, measurement{
		plan:   func(j *job) stream { return losing(j.link, j.from.header()) },
		weight: func(_ *job, s stream) float64 { return s.pps },
		judge: func(j *job, s stream, out sent, came []arrival) {
			j.check.Sent, j.check.Lost = out.n, out.n-len(came)
			v := judgeLoss(j.link.Loss, j.check.Lost, out.n, r.alpha)
			v.Found = because(v.Found, out.err)
			j.verdict(v)
		},
		wait: awaitMark,
	})
}

// rates measures the throughput of links: those measured again alone.
func (r *run) rates(ctx context.Context, what string, jobs []*job, attempt int) error {
	return r.sideBySide(ctx, what, jobs, attempt, fast, measurement{
		plan: func(j *job) stream { return filling(j.link, j.from.header()) },
		weight: func(j *job, _ stream) float64 {
			if attempt > 1 {
				return fast
			}
			return float64(j.link.Rate)
		},
		judge: func(j *job, s stream, out sent, came []arrival) {
			size := largeSize + j.from.header()
			found, waiting := speed(came, size, slack(j.link, j.from.header()))
			j.check.Throughput = found
			v := judgeThroughput(j.link, found, out.offered(size), waiting || overflowed(j.link, j.from.header(), out.n-len(came), out.n))
			v.Found = because(v.Found, out.err)
			j.verdict(v)
		},
		wait: awaitMark,
	})
}

func awaitMark(ctx context.Context, j *job, s stream) error {
	return j.from.awaitFlow(ctx, j.to, j.flow, 2*j.link.Jitter, draining(j.link, s, j.from.header()))
}

// measurement is one quantity that a stream measures.
type measurement struct {
	plan   func(*job) stream
	weight func(*job, stream) float64 // of what all at once may be
	wait   func(context.Context, *job, stream) error
	judge  func(j *job, s stream, out sent, came []arrival)
}

// sideBySide sends the streams of all jobs, as many at once as the sum of
// their weights allows; one that is heavier than that is alone. Those that
// follow each other are of different senders and receivers, so that no node's
// device has to take them all.
func (r *run) sideBySide(ctx context.Context, what string, jobs []*job, attempt int, most int64, m measurement) error {
	room := semaphore.NewWeighted(most)
	done := make(chan struct{}, len(jobs))
	g, ctx := errgroup.WithContext(ctx)
	var err error
	turn := func(j *job) int { return (j.to.index - j.from.index + len(r.nodes)) % len(r.nodes) }
	jobs = slices.SortedStableFunc(slices.Values(jobs), func(a, b *job) int { return turn(a) - turn(b) })
	for _, j := range jobs {
		s := m.plan(j)
		weight := min(most, max(1, int64(m.weight(j, s))))
		if err = room.Acquire(ctx, weight); err != nil {
			break
		}
		j.flow = r.newFlow(j.to, s.n)
		g.Go(func() error {
			defer room.Release(weight)
			defer j.to.forget(j.flow)
			conn, err := j.from.borrow()
			if err != nil {
				return err
			}
			out, err := j.from.send(ctx, conn, j.to, j.flow.id, s)
			if err == nil {
				err = m.wait(ctx, j, s)
			}
			if err := errors.Join(err, j.from.giveBack(conn, j.flow.over() && !out.cut)); err != nil {
				return err
			}
			m.judge(j, s, out, j.flow.taken())
			done <- struct{}{}
			return nil
		})
		// progress is this goroutine's
		for len(done) > 0 {
			<-done
			r.progress(what, attempt)
		}
	}
	if failed := g.Wait(); failed != nil {
		return failed
	}
	for len(done) > 0 {
		<-done
		r.progress(what, attempt)
	}
	return err
}
