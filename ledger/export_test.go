package ledger

// OpenChecking is New, which checks that many records before it returns, and the log of a
// ledger with more of them in the background.
func OpenChecking(dir, key string, opts *Options, checked int64) (*Ledger, error) {
	return open(dir, key, opts, checked)
}
