package cloudfronttest

import (
	"net/http"
	"regexp"
	"slices"
	"time"
)

type invalidation struct {
	distribution, id string
	batch            *Node
	polls            int // so far
}

// Invalidated are the paths of each invalidation that was accepted, in order.
func (a *API) Invalidated() [][]string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var all [][]string
	for _, i := range a.invalidations {
		all = append(all, i.paths())
	}
	return all
}

func (i *invalidation) paths() []string {
	var paths []string
	if items := i.batch.Find("Paths/Items"); items != nil {
		for _, p := range items.Children {
			paths = append(paths, p.Text)
		}
	}
	return paths
}

// goodPath is what CloudFront takes: what RFC 1738 calls unsafe is encoded.
var goodPath = regexp.MustCompile("^/(?:[!$&'()*+,./0-9:;=?@A-Z_a-z-]|%[0-9A-F]{2})*$")

func (a *API) serveInvalidation(w http.ResponseWriter, req Request, distribution, id string) {
	if a.find("distribution", distribution) == nil {
		refuse(http.StatusNotFound, "NoSuchDistribution", "The specified distribution does not exist.").Write(w)
		return
	}
	if req.Method == http.MethodGet {
		i := slices.IndexFunc(a.invalidations, func(i *invalidation) bool { return i.id == id && i.distribution == distribution })
		if i < 0 {
			refuse(http.StatusNotFound, "NoSuchInvalidation", "The specified invalidation does not exist.").Write(w)
			return
		}
		a.invalidations[i].polls++
		respond(w, http.StatusOK, a.describe(a.invalidations[i]))
		return
	}
	next := &invalidation{distribution: distribution, batch: req.Body}
	paths := next.paths()
	if len(paths) == 0 || req.Body.Get("CallerReference") == "" {
		refuse(http.StatusBadRequest, "MissingArgument", "no paths or no caller reference").Write(w)
		return
	}
	for i, p := range paths {
		if !goodPath.MatchString(p) || slices.Contains(paths[:i], p) {
			refuse(http.StatusBadRequest, "InvalidArgument", "Your request contains one or more invalid invalidation paths.").Write(w)
			return
		}
	}
	for _, i := range a.invalidations {
		if i.distribution == distribution && i.batch.Get("CallerReference") == req.Body.Get("CallerReference") {
			if !slices.Equal(i.paths(), paths) {
				refuse(http.StatusBadRequest, "InvalidArgument", "the caller reference was used for other paths").Write(w)
				return
			}
			next = i
		}
	}
	if next.id == "" {
		next.id = a.name("I")
		a.invalidations = append(a.invalidations, next)
	}
	w.Header().Set("Location", version+"distribution/"+distribution+"/invalidation/"+next.id)
	respond(w, http.StatusCreated, a.describe(next))
}

func (a *API) describe(i *invalidation) *Node {
	status := "InProgress"
	if i.polls > a.Polls {
		status = "Completed"
	}
	return New("Invalidation", New("Id", i.id), New("Status", status), New("CreateTime", time.Now().UTC().Format(time.RFC3339)), i.batch.Clone())
}
