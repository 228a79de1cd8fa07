package fetcher

import (
	"context"
	"fmt"
)

// ensureHistory makes sure that the bare repository has all branches and tags with all
// their history, and also HEAD if head is true: it can be a commit of no branch.
func (r *repo) ensureHistory(ctx context.Context, rs *refSet, head bool) error {
	if err := r.checkComplete(rs); err != nil {
		return err
	}
	caller := ctx
	_, err := r.f.fetches.Do(ctx, fmt.Sprint(r.key, " history ", head), func(ctx context.Context) (struct{}, error) {
		release, err := r.f.room(ctx, r.f.listUse.asked, int64(rs.list.len())*tipBytes)
		if err != nil {
			return struct{}{}, err
		}
		defer release()
		return struct{}{}, r.fetch(keepNoCache(ctx, caller), rs, func(h *repoState) (*fetchRequest, error) {
			known := make(map[string]bool) // some repositories have 50,000 tags
			for _, tip := range h.Complete {
				known[tip] = true
			}
			var wants []string
			for ref := range rs.all() {
				if (ref.name != headName || head) && !known[ref.tip] {
					known[ref.tip] = true
					wants = append(wants, ref.tip)
				}
			}
			if len(known) > maxTips {
				return nil, invalidf("%s has more than %d branches and tags of different commits, too many to fetch its history", r.name, maxTips)
			}
			if len(wants) == 0 {
				return nil, nil
			}
			// Commits without history are not offered as haves: the server
			// would leave out their ancestors.
			return &fetchRequest{wants: wants, haves: newest(h.Complete, maxHaves)}, nil
		}, func(h *repoState, o *fetchRequest) {
			h.Complete = append(h.Complete, o.wants...)
		})
	})
	return err
}
