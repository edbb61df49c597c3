package ops

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/ea947076/checkpointstore/internal/redact"
)

// Severity says how bad a [Finding] is.
type Severity string

const (
	SeverityOK      Severity = "ok"
	SeverityWarning Severity = "warning" // it works, but should be changed
	SeverityProblem Severity = "problem" // checkpoints are not safe, or not stored at all
	SeverityUnknown Severity = "unknown" // it could not be checked
)

// Finding is the result of one test of [Check].
type Finding struct {
	Name     string // "conditional requests"
	Severity Severity
	Detail   string // what was found
	Do       string // what to do about it, empty if nothing
}

// CheckOptions are the options of Check. Nil is the same as the zero value.
type CheckOptions struct {
	// Store is a store on the same container. If it is set, Check searches every
	// consumer group for live owners under two spellings, which do not see each other.
	Store Store

	// Requests is the number of requests to measure the latency with. Zero means 20.
	Requests int

	// Expiration is the consumers' PartitionExpirationDuration. Zero is
	// [DefaultExpiration].
	Expiration time.Duration
}

// maxClockSkew is how far this machine's clock may be off. The service refuses
// signatures that are 15 minutes off; processors compare times with the service's.
const maxClockSkew = 5 * time.Second

// slowRequest is the duration above which a request counts as slow: a round of
// renewals must end well within the interval between two rounds, 10 s by default.
const slowRequest = time.Second

// Check tests whether a container can hold checkpoints safely: whether it exists,
// which permissions are missing, whether the service honours conditional requests,
// which account settings cost time or money, how far this machine's clock is off, how
// long requests take, and, with a store, whether owners under two spellings read the
// same partitions.
//
// It writes one blob, named "checkpointstore-check-" and a random text, and deletes it
// at the end. It uses the client's credential and needs no management rights; without
// the permission to delete, the blob stays and a finding says so. The error is the
// context's: every other failure is a finding.
//
// Requests: about 15, those that measure the latency, and with a store those of
// [ListGroups] and one [Read] for each group with two spellings.
func Check(ctx context.Context, client *container.Client, options *CheckOptions) ([]Finding, error) {
	if options == nil {
		options = &CheckOptions{}
	}
	c := &checking{client: client, options: options, name: "checkpointstore-check-" + rand.Text()}
	c.blob = client.NewBlockBlobClient(c.name)
	if c.container(ctx) {
		c.settings(ctx)
		c.probe(ctx)
		c.spellings(ctx)
	}
	return c.findings, ctx.Err()
}

// checking is the state of one Check call.
type checking struct {
	client   *container.Client
	options  *CheckOptions
	name     string
	blob     *blockblob.Client
	findings []Finding
}

func (c *checking) ok(name, format string, args ...any) {
	c.findings = append(c.findings, Finding{Name: name, Severity: SeverityOK, Detail: fmt.Sprintf(format, args...)})
}

func (c *checking) found(severity Severity, name, detail, do string) {
	c.findings = append(c.findings, Finding{Name: name, Severity: severity, Detail: detail, Do: do})
}

// container reports whether the container exists. It lists blobs, because a SAS of the
// container cannot read the container's properties. A missing permission to list is
// not reported here: the probe finds it.
func (c *checking) container(ctx context.Context) bool {
	sent := time.Now()
	got, err := c.client.NewListBlobsFlatPager(&container.ListBlobsFlatOptions{MaxResults: to.Ptr(int32(1))}).NextPage(ctx)
	var refusal *azcore.ResponseError
	switch {
	case err == nil:
		c.ok("container", "it is there")
	case status(err) == http.StatusUnauthorized || status(err) == http.StatusForbidden:
		if errors.As(err, &refusal) && refusal.RawResponse != nil {
			if at, err := http.ParseTime(refusal.RawResponse.Header.Get("Date")); err == nil {
				got.Date = &at
			}
		}
	default:
		do := "check the account's name, the network and its firewall"
		if status(err) == http.StatusNotFound {
			do = "create the container, and check its name and the account's"
		}
		c.found(SeverityProblem, "container", describeError(err), do)
		return false
	}
	c.clock(got.Date, sent, time.Now())
	return true
}

// clock compares this machine's clock with the service's, taken from a response.
func (c *checking) clock(at *time.Time, sent, received time.Time) {
	if at == nil {
		c.found(SeverityUnknown, "clock", "the service did not say its time", "")
		return
	}
	// The service took its time, in whole seconds, between sent and received.
	took := received.Sub(sent)
	off := sent.Add(took / 2).Sub(at.Add(time.Second / 2)).Round(time.Second)
	if off.Abs() <= maxClockSkew+took {
		c.ok("clock", "within %s of the service's", maxClockSkew)
		return
	}
	direction := "ahead of"
	if off < 0 {
		direction = "behind"
	}
	c.found(SeverityWarning, "clock", fmt.Sprintf("this machine's clock is %s %s the service's", off.Abs(), direction),
		"synchronise it (NTP): expirations are told too early or too late, and from 15 minutes on requests are refused")
}

// settings checks the account's settings.
func (c *checking) settings(ctx context.Context) {
	got, err := c.client.GetAccountInfo(ctx, nil)
	switch {
	case err != nil:
		c.found(SeverityUnknown, "hierarchical namespace", describeError(err), "")
	case got.IsHierarchicalNamespaceEnabled == nil:
		c.found(SeverityUnknown, "hierarchical namespace", "the service did not say", "")
	case *got.IsHierarchicalNamespaceEnabled:
		c.found(SeverityWarning, "hierarchical namespace", "it is on: directories stay behind, and lists are slower", "use an account without it for checkpoints")
	default:
		c.ok("hierarchical namespace", "it is off")
	}
}

// step is one request of the probe and the response that it must get.
type step struct {
	what  string
	right string // the permission that it needs
	must  answer
	send  func(context.Context) error
}

// answer is the response that a request of the probe must get.
type answer int

const (
	succeed answer = iota
	conflict
	notFound
)

var answerNames = [...]string{"be carried out", "be refused with 409 or 412", "be answered with 404"}

func (a answer) is(err error) bool {
	got := status(err)
	switch a {
	case conflict:
		return got == http.StatusConflict || got == http.StatusPreconditionFailed
	case notFound:
		return got == http.StatusNotFound
	}
	return err == nil
}

// probe writes, reads, lists and deletes a blob, as stores do.
func (c *checking) probe(ctx context.Context) {
	var first, last azcore.ETag
	var versioned, forbidden bool
	create := step{"create a blob that is not there (If-None-Match: *)", "write", succeed, func(ctx context.Context) error {
		resp, err := c.blob.Upload(ctx, emptyBody(), &blockblob.UploadOptions{AccessConditions: ifNoneMatch(), Metadata: probeMetadata("1")})
		first, versioned = value(resp.ETag), resp.VersionID != nil
		forbidden = status(err) == http.StatusUnauthorized || status(err) == http.StatusForbidden
		return err
	}}
	defer func() {
		if !forbidden { // another failure may have come after the blob was written
			c.remove(ctx)
		}
	}()
	if !c.take(ctx, create) {
		c.take(ctx, step{"read a blob that is not there", "read", notFound, func(ctx context.Context) error {
			_, err := c.blob.GetProperties(ctx, nil)
			return err
		}})
		c.take(ctx, step{"list blobs", "list", succeed, func(ctx context.Context) error {
			if err := c.listed(ctx, false); !errors.Is(err, errNotListed) {
				return err
			}
			return nil
		}})
		return
	}
	worked := true
	for _, s := range []step{
		{"create it once more", "write", conflict, func(ctx context.Context) error {
			resp, err := c.blob.Upload(ctx, emptyBody(), &blockblob.UploadOptions{AccessConditions: ifNoneMatch()})
			if err == nil {
				first = value(resp.ETag)
			}
			return err
		}},
		{"write it on its ETag (If-Match)", "write", succeed, func(ctx context.Context) error {
			resp, err := c.blob.SetMetadata(ctx, probeMetadata("2"), &blob.SetMetadataOptions{AccessConditions: ifMatch(first)})
			last = value(resp.ETag)
			return err
		}},
		{"write it on an ETag of before", "write", conflict, func(ctx context.Context) error {
			resp, err := c.blob.SetMetadata(ctx, probeMetadata("2"), &blob.SetMetadataOptions{AccessConditions: ifMatch(first)})
			if err == nil {
				last = value(resp.ETag)
			}
			return err
		}},
		{"read it", "read", succeed, func(ctx context.Context) error {
			resp, err := c.blob.GetProperties(ctx, nil)
			if err == nil && (value(resp.ETag) != last || last == first || !isProbe(resp.Metadata, "2")) {
				return errors.New("it is not what was written last")
			}
			return err
		}},
		{"list it with its metadata", "list", succeed, func(ctx context.Context) error { return c.listed(ctx, false) }},
	} {
		worked = c.take(ctx, s) && worked
	}
	if worked {
		c.ok("permissions", "read, write and list are there")
		c.ok("conditional requests", "the service keeps If-Match and If-None-Match")
		c.latency(ctx)
	}
	if versioned {
		c.found(SeverityWarning, "versioning", "it is on: every checkpoint leaves a version behind, which costs storage and slows lists down", "turn it off for this account, or delete old versions by a lifecycle rule")
	} else {
		c.ok("versioning", "it is off")
	}
}

// take sends the request of a step and adds a finding if the response is wrong.
func (c *checking) take(ctx context.Context, s step) bool {
	err := s.send(ctx)
	got := status(err)
	switch {
	case s.must.is(err):
		return true
	case got == http.StatusUnauthorized || got == http.StatusForbidden:
		c.found(SeverityProblem, "permissions", fmt.Sprintf("to %s: %s", s.what, describeError(err)),
			fmt.Sprintf("the credential needs %q: the role Storage Blob Data Contributor, or a SAS with read, write, list", s.right))
	case s.must == conflict && (err == nil || got != 0):
		what := "it was carried out"
		if err != nil {
			what = describeError(err)
		}
		c.found(SeverityProblem, "conditional requests", fmt.Sprintf("to %s: must %s, but %s", s.what, answerNames[s.must], what),
			"do not keep checkpoints here: two owners can both believe that they own a partition")
	case err == nil:
		c.found(SeverityProblem, "requests", fmt.Sprintf("to %s: must %s, but it was carried out", s.what, answerNames[s.must]), "check any proxy on the way to the service")
	default:
		c.found(SeverityProblem, "requests", fmt.Sprintf("to %s: %s", s.what, describeError(err)), "check the account's state, and any proxy on the way to it")
	}
	return false
}

func emptyBody() io.ReadSeekCloser { return streaming.NopCloser(bytes.NewReader(nil)) }

// latency measures small writes, as renewals and checkpoints are.
func (c *checking) latency(ctx context.Context) {
	n := cmp.Or(c.options.Requests, 20)
	took := make([]time.Duration, 0, n)
	for range n {
		began := time.Now()
		if _, err := c.blob.SetMetadata(ctx, probeMetadata("4"), nil); err != nil {
			c.found(SeverityWarning, "latency", describeError(err), "")
			return
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	p50, p99 := took[(n-1)/2], took[(n*99-1)/100]
	detail := fmt.Sprintf("%d writes: half within %s, 99%% within %s", n, p50.Round(time.Millisecond/10), p99.Round(time.Millisecond/10))
	if p99 > slowRequest {
		c.found(SeverityWarning, "latency", detail, "use an account in the consumers' region, and look for throttling in its metrics")
	} else {
		c.ok("latency", "%s", detail)
	}
}

// remove deletes the probe blob, even after the context has ended, and checks whether
// it is still listed as a soft-deleted blob.
func (c *checking) remove(ctx context.Context) {
	ctx, cancel := cleanup(ctx)
	defer cancel()
	_, err := c.blob.Delete(ctx, nil)
	switch {
	case status(err) == http.StatusNotFound:
		return // it was never written
	case status(err) == http.StatusUnauthorized || status(err) == http.StatusForbidden:
		c.found(SeverityWarning, "cleaning up", fmt.Sprintf("the blob %q of this check is left: %s", c.name, describeError(err)), "only gc and this check delete; to use them, the credential needs delete")
		return
	case err != nil:
		c.found(SeverityWarning, "cleaning up", fmt.Sprintf("the blob %q of this check is left: %s", c.name, describeError(err)), "delete it")
		return
	}
	switch err := c.listed(ctx, true); {
	case err == nil:
		c.found(SeverityWarning, "soft delete", "it is on: what is written over or deleted is kept, which costs storage and slows lists down", "turn it off for this account")
	case errors.Is(err, errNotListed):
		c.ok("soft delete", "it is off")
	default:
		c.found(SeverityUnknown, "soft delete", describeError(err), "")
	}
}

var errNotListed = errors.New("it is not in the list")

// listed looks for the probe blob in a list, either with its metadata or as deleted.
func (c *checking) listed(ctx context.Context, deleted bool) error {
	pager := c.client.NewListBlobsFlatPager(&container.ListBlobsFlatOptions{
		Prefix:  &c.name,
		Include: container.ListBlobsInclude{Metadata: true, Deleted: deleted},
	})
	for pager.More() {
		page, err := pager.NextPage(ctx)
		if err != nil {
			return err
		}
		if page.Segment == nil {
			continue
		}
		for _, item := range page.Segment.BlobItems {
			if value(item.Name) == c.name && (deleted || isProbe(item.Metadata, "2")) {
				return nil
			}
		}
	}
	return errNotListed
}

// spellings looks for live owners that read the same partitions under two spellings.
func (c *checking) spellings(ctx context.Context) {
	const name = "spellings"
	if c.options.Store == nil {
		return
	}
	groups, err := ListGroups(ctx, c.options.Store)
	if err != nil {
		c.found(SeverityUnknown, name, describeError(err), "")
		return
	}
	before := len(c.findings)
	for _, g := range groups {
		if len(g.Spellings) < 2 {
			continue
		}
		if err := c.sameGroup(ctx, name, g); err != nil {
			c.found(SeverityUnknown, name, describeError(err), "")
			return
		}
	}
	if len(c.findings) == before {
		c.ok(name, "no consumer group of %d has records under two spellings", len(groups))
	}
}

// sameGroup looks for live owners under several spellings of one group.
func (c *checking) sameGroup(ctx context.Context, name string, g Group) error {
	live := make(map[Scope]int) // partitions with a live owner
	for _, spelling := range g.Spellings {
		if spelling == g.Scope {
			continue // it comes with each of the others
		}
		s, err := Read(ctx, c.options.Store, spelling, &ReadOptions{Expiration: c.options.Expiration})
		if err != nil {
			return err
		}
		own, other := s.Spelling, spelling
		if own == spelling {
			other = g.Scope
		}
		live[own], live[other] = 0, 0
		for _, p := range s.Partitions {
			if p.State == Live {
				live[own]++
			}
			if p.Other != nil && p.Other.State == Live {
				live[other]++
			}
		}
	}
	var found []string
	for _, spelling := range slices.SortedFunc(maps.Keys(live), Scope.Compare) {
		if live[spelling] > 0 {
			found = append(found, fmt.Sprintf("%s (%d)", spelling.String(), live[spelling]))
		}
	}
	switch len(found) {
	case 0:
		c.found(SeverityWarning, name, g.Scope.String()+": records under several spellings, without live owners", "migrate them, then clean up")
	case 1:
		c.found(SeverityWarning, name, fmt.Sprintf("%s: records under several spellings, with live owners under %s", g.Scope.String(), found[0]), "clean up once the others are not needed any more")
	default:
		c.found(SeverityProblem, name, fmt.Sprintf("partitions have live owners that do not see each other, under %s", strings.Join(found, " and ")),
			"stop the consumers of one spelling, or set this store's BlobNaming to that of the others")
	}
	return nil
}

func probeMetadata(text string) map[string]*string {
	return map[string]*string{"check": to.Ptr(text)}
}

func isProbe(m map[string]*string, text string) bool {
	for _, v := range m {
		if value(v) == text {
			return true
		}
	}
	return false
}

func ifNoneMatch() *blob.AccessConditions {
	return &blob.AccessConditions{ModifiedAccessConditions: &blob.ModifiedAccessConditions{IfNoneMatch: to.Ptr(azcore.ETagAny)}}
}

func ifMatch(etag azcore.ETag) *blob.AccessConditions {
	return &blob.AccessConditions{ModifiedAccessConditions: &blob.ModifiedAccessConditions{IfMatch: &etag}}
}

func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// status returns the status code of the service's response in an error, or 0.
func status(err error) int {
	var answer *azcore.ResponseError
	if errors.As(err, &answer) {
		return answer.StatusCode
	}
	return 0
}

// describeError returns one line without credentials.
func describeError(err error) string {
	var answer *azcore.ResponseError
	if errors.As(err, &answer) {
		return fmt.Sprintf("the service answers %d %s", answer.StatusCode, cmp.Or(answer.ErrorCode, http.StatusText(answer.StatusCode)))
	}
	return redact.Secrets(nil).Text(err.Error())
}
