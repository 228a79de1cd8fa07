package blob

import (
	"context"
	"errors"
	"sync"
)

// proofs lets writes share the proof that the service honors conditions: one request
// that creates what exists, and that the service must refuse. A proof counts for each
// write that ended before the proof began, so a write that is alone makes its own, and
// those that end while a proof is under way share the next.
//
// Between servers nothing is shared. Of two servers that store different content of one
// version at the same time, in a bucket without conditions, the one whose write came
// last begins its proof after that, and sees it accepted.
type proofs struct {
	mu      sync.Mutex
	running *proof // is under way
	next    *proof // begins when running ends, for all writes that wait
}

type proof struct {
	done chan struct{}
	err  error // set before done is closed
}

func (p *proof) end(err error) {
	p.err = err
	close(p.done)
}

// after returns once a proof that began after this call has ended. The caller's own one
// is try, which is called unless another caller's stands for it.
func (p *proofs) after(ctx context.Context, try func() error) error {
	p.mu.Lock()
	if shared := p.next; shared != nil {
		p.mu.Unlock()
		select {
		case <-shared.done:
		case <-ctx.Done():
			return ctx.Err()
		}
		if shared.err == nil || errors.Is(shared.err, errUnconditional) {
			return shared.err
		}
		return try() // that one failed, or its caller left
	}
	own, before := &proof{done: make(chan struct{})}, p.running
	if before == nil {
		p.running = own
	} else {
		p.next = own
	}
	p.mu.Unlock()
	if before != nil {
		if err := p.turn(ctx, own, before); err != nil {
			return err
		}
	}
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.running == own {
			p.running = nil
		}
	}()
	err := errors.New("the proof did not end") // it panicked
	defer func() { own.end(err) }()
	err = try()
	return err
}

// turn waits until own, which is the next proof, may begin.
func (p *proofs) turn(ctx context.Context, own, before *proof) (err error) {
	select {
	case <-before.done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next = nil
	if err != nil {
		own.end(err)
		return err
	}
	p.running = own
	return nil
}
