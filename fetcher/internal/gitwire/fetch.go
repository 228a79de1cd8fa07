package gitwire

import (
	"bytes"
	"strings"
)

// request is the request for a pack.
func (s *Server) request(req *Request) []byte {
	if s.Version == 2 {
		return s.request2(req)
	}
	announce := " " + strings.Join(s.announced(req), " ")
	var b []byte
	for _, id := range req.Wants {
		b = appendLine(b, "want %s%s\n", id, announce)
		announce = ""
	}
	for _, id := range req.Shallows {
		b = appendLine(b, "shallow %s\n", id)
	}
	if req.Depth > 0 {
		b = appendLine(b, "deepen %d\n", req.Depth)
	}
	b = append(b, "0000"...)
	for _, id := range req.Haves {
		b = appendLine(b, "have %s\n", id)
	}
	return appendLine(b, "done\n")
}

// announced are the capabilities that git announces to such a server. Some servers
// refuse a request that lacks one of them.
func (s *Server) announced(req *Request) (list []string) {
	first := func(names ...string) {
		for _, name := range names {
			if s.caps.has(name) {
				list = append(list, name)
				return
			}
		}
	}
	first("multi_ack_detailed", "multi_ack")
	first("side-band-64k", "side-band")
	if thin(req) {
		list = append(list, "thin-pack")
	}
	for _, name := range []string{"no-progress", "ofs-delta", "deepen-since", "deepen-not"} {
		first(name)
	}
	if s.caps.has("object-format") {
		list = append(list, "object-format=sha1")
	}
	if s.caps.has("agent") {
		list = append(list, "agent="+Agent)
	}
	return list
}

// thin reports whether a thin pack may be announced, as git always does: to a client
// that has nothing, no server sends differences to what it has.
func thin(req *Request) bool { return req.Thin || len(req.Haves) == 0 }

// request2 is the request in version 2.
func (s *Server) request2(req *Request) []byte {
	b := s.command("fetch")
	if thin(req) {
		b = appendLine(b, "thin-pack")
	}
	b = appendLine(b, "no-progress")
	b = appendLine(b, "ofs-delta")
	for _, id := range req.Shallows {
		b = appendLine(b, "shallow %s", id)
	}
	if req.Depth > 0 {
		b = appendLine(b, "deepen %d", req.Depth)
	}
	for _, id := range req.Wants {
		b = appendLine(b, "want %s\n", id)
	}
	for _, id := range req.Haves {
		b = appendLine(b, "have %s\n", id)
	}
	b = appendLine(b, "done\n")
	return append(b, "0000"...)
}

// acknowledged reads what comes before a pack: which commits end the history that is
// sent, and which of those that are held the server knows.
func acknowledged(in *packets, req *Request) error {
	for cut := req.Depth > 0; cut; {
		kind, data, err := in.text()
		switch {
		case err != nil:
			return unexpected(err)
		case kind == flush:
			cut = false
		case kind != line, !bytes.HasPrefix(data, []byte("shallow ")) && !bytes.HasPrefix(data, []byte("unshallow ")):
			return ErrNotGit
		}
	}
	for {
		kind, data, err := in.text()
		if err != nil {
			return unexpected(err)
		}
		words := strings.Fields(string(data))
		switch {
		case kind == line && len(words) == 1 && words[0] == "NAK", kind == line && len(words) == 2 && words[0] == "ACK":
			return nil
		case kind == line && len(words) == 3 && words[0] == "ACK":
			// "continue", "common" or "ready": more follows
		default:
			return ErrNotGit
		}
	}
}

// sections reads what comes before a pack in version 2. It reports whether the server
// left history out without being asked to.
func sections(in *packets, req *Request) (cut bool, err error) {
	section := ""
	for {
		kind, data, err := in.text()
		switch {
		case err != nil:
			return cut, unexpected(err)
		case kind == delimiter:
			section = ""
		case kind != line:
			return cut, ErrNotGit // the answer ends without a pack
		case section == "":
			section = string(data)
			switch section {
			case "packfile":
				return cut, nil
			case "acknowledgments", "shallow-info", "wanted-refs", "packfile-uris":
			default:
				return cut, ErrNotGit
			}
		case section == "shallow-info" && req.Depth == 0:
			cut = cut || bytes.HasPrefix(data, []byte("shallow "))
		}
	}
}
