package gossip

import "time"

// SetFault gossips why this node's coordinator is out of service, in a few words;
// empty: it is in service.
func (g *Gossip) SetFault(why string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if why = why[:min(len(why), maxFault)]; why == g.bad {
		return nil
	}
	g.bad = why
	return g.tell(time.Now())
}

// maxFault bounds the words in tagFault, in bytes.
const maxFault = 32

// addFault says that a coordinator is out of service, if there is room: nobody
// does without the other tags for it.
func addFault(tags map[string]string, fault string) {
	one := map[string]string{tagFault: fault}
	if fault != "" && encodedSize(tags)+encodedSize(one) <= tagsLimit {
		tags[tagFault] = fault
	}
}
