package checkpointstore_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/stretchr/testify/require"

	"github.com/ea947076/checkpointstore"
	"github.com/ea947076/checkpointstore/internal/blobtest"
	fake "github.com/ea947076/checkpointstore/internal/fakeblob"
	"github.com/ea947076/checkpointstore/internal/faults"
)

// Why a request was refused, as the error tells.

// refusalFrom is an answer of the service: with its headers, and with a body
// unless the request is a HEAD.
func refusalFrom(status int, code, detail string) faults.TransportFunc {
	return func(req *http.Request) (*http.Response, error) {
		header := http.Header{
			"X-Ms-Request-Id": {"1"}, "X-Ms-Version": {"2021-12-02"}, "X-Ms-Error-Code": {code},
			"Date": {time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).Format(http.TimeFormat)},
		}
		body := ""
		detail := strings.ReplaceAll(detail, "MAC'", mac(req)+"'")
		if req.Method != http.MethodHead {
			body = "<Error><Code>" + code + "</Code><AuthenticationErrorDetail>" + detail + "</AuthenticationErrorDetail></Error>"
		}
		return &http.Response{StatusCode: status, Request: req, Header: header, Body: io.NopCloser(strings.NewReader(body))}, nil
	}
}

// mac is the signature of a request, or its token.
func mac(req *http.Request) string {
	authorization := req.Header.Get("Authorization")
	return authorization[strings.LastIndexAny(authorization, ": ")+1:]
}

func TestARefusalSaysWhy(t *testing.T) {
	type open func(o *checkpointstore.BlobCheckpointStoreOptions) (*checkpointstore.BlobCheckpointStore, error)
	container := fake.New().URL()
	anonymous := func(o *checkpointstore.BlobCheckpointStoreOptions) (*checkpointstore.BlobCheckpointStore, error) {
		return checkpointstore.NewBlobCheckpointStoreWithNoCredential(container, o)
	}
	key := func(o *checkpointstore.BlobCheckpointStoreOptions) (*checkpointstore.BlobCheckpointStore, error) {
		return checkpointstore.NewBlobCheckpointStoreWithSharedKeyCredential(container, sharedKey(t), o)
	}
	bearer := func(o *checkpointstore.BlobCheckpointStoreOptions) (*checkpointstore.BlobCheckpointStore, error) {
		return checkpointstore.NewBlobCheckpointStoreWithTokenCredential(container, token{}, o)
	}
	signed := func(times string) open {
		return func(o *checkpointstore.BlobCheckpointStoreOptions) (*checkpointstore.BlobCheckpointStore, error) {
			return checkpointstore.NewBlobCheckpointStoreWithNoCredential(container+"?"+signature+times, o)
		}
	}
	sas := signed("&se=2030-01-01T00%3A00%3A00Z")
	const (
		stringToSign = ". Server used following string to sign: 'GET\n\n/account/c'."
		mac          = "The MAC signature found in the HTTP request 'MAC' is not the same as any computed signature"
		noMatch      = "Signature did not match. String to sign used was rwl\n2030-01-01\n/blob/account/c"
		outOfTime    = "Signature not valid in the specified time frame: Start [Thu, 01 Jan 2026 00:00:00 GMT] - Expiry [Thu, 01 Jan 2026 01:00:00 GMT] - Current [Fri, 02 Jan 2026 03:04:05 GMT]"
	)
	for name, c := range map[string]struct {
		open   open
		answer faults.TransportFunc
		says   string
		not    string // what it does not say
	}{
		"another key":                      {key, refusalFrom(403, "AuthenticationFailed", mac+stringToSign), "the account key does not match", "SAS's"},
		"another key, its detail":          {key, refusalFrom(403, "AuthenticationFailed", mac+stringToSign), "(the service says: The MAC signature found in the HTTP request 'REDACTED' is not the same as any computed signature);", "string to sign"},
		"a SAS of another key":             {sas, refusalFrom(403, "AuthenticationFailed", noMatch), "the SAS's signature does not match", "account key does not"},
		"a SAS of another key, its detail": {sas, refusalFrom(403, "AuthenticationFailed", noMatch), "(the service says: Signature did not match);", "String to sign"},
		"an expired SAS":                   {signed("&se=2026-01-02T03%3A04%3A05Z"), refusalFrom(403, "AuthenticationFailed", outOfTime), "the SAS expired at 2026-01-02T03:04:05Z", "does not match"},
		"an expired SAS, Azurite":          {signed("&se=2026-01-02T03%3A04%3A05Z"), refusalFrom(403, "AuthorizationFailure", ""), "the SAS expired at 2026-01-02T03:04:05Z", "firewall"},
		"an expired SAS, by the day":       {signed("&se=2026-01-02"), refusalFrom(403, "AuthenticationFailed", ""), "the SAS expired at 2026-01-02T00:00:00Z", "does not match"},
		"an expired SAS, by the minute":    {signed("&se=2026-01-02T03%3A04Z"), refusalFrom(403, "AuthenticationFailed", ""), "the SAS expired at 2026-01-02T03:04:00Z", "does not match"},
		"a SAS that is not valid yet":      {signed("&st=2026-01-02T03%3A04%3A06Z&se=2030-01-01"), refusalFrom(403, "AuthenticationFailed", ""), "the SAS is not valid before 2026-01-02T03:04:06Z", "does not match"},
		"a SAS whose times are no times":   {signed("&se=c2VjcmV0"), refusalFrom(403, "AuthenticationFailed", ""), "the SAS's signature does not match", "expired"},
		"a SAS of a stored policy":         {signed("&si=policy"), refusalFrom(403, "AuthenticationFailed", outOfTime), "(the service says: Signature not valid in the specified time frame: Start", ""},
		"a SAS without a permission":       {sas, refusalFrom(403, "AuthorizationPermissionMismatch", ""), "the SAS lacks a permission; the request needs ", "match:"},
		"a SAS of the account":             {sas, refusalFrom(403, "AuthorizationResourceTypeMismatch", ""), "srt", "match:"},
		"a SAS of another service":         {sas, refusalFrom(403, "AuthorizationServiceMismatch", ""), "not for the blob service", "match:"},
		"a SAS for another protocol":       {sas, refusalFrom(403, "AuthorizationProtocolMismatch", ""), "does not allow this protocol", "match:"},
		"a SAS for another address":        {sas, refusalFrom(403, "AuthorizationSourceIPMismatch", ""), "does not allow this machine's address", "match:"},
		"no role":                          {bearer, refusalFrom(403, "AuthorizationPermissionMismatch", ""), "the identity lacks a permission; the request needs ", "SAS's"},
		"another tenant's token":           {bearer, refusalFrom(401, "InvalidAuthenticationInfo", "Issuer validation failed."), "the token was not accepted: check its tenant and audience (the service says: Issuer validation failed)", "SAS's"},
		"the firewall":                     {bearer, refusalFrom(403, "AuthorizationFailure", ""), "the account's firewall or network rules do not let this machine in", "SAS's"},
		"the firewall, by the address":     {key, refusalFrom(403, "IpAuthorizationFailure", ""), "the account's firewall or network rules do not let this machine in", "SAS's"},
		"no keys":                          {key, refusalFrom(403, "KeyBasedAuthenticationNotPermitted", ""), "allows no account keys", "match"},
		"a disabled account":               {key, refusalFrom(403, "AccountIsDisabled", ""), "the account is disabled", "match"},
		"no credential":                    {anonymous, refusalFrom(401, "NoAuthenticationInformation", ""), "the request had no credential", "SAS's"},
		"no credential, private container": {anonymous, refusalFrom(404, "ResourceNotFound", ""), "the request had no credential", "not found"},
		"no credential, no public access":  {anonymous, refusalFrom(409, "PublicAccessNotPermitted", ""), "allows no anonymous access", "SAS's"},
		"an unknown code":                  {sas, refusalFrom(403, "SomethingNew", ""), "the SAS's signature does not match: it was cut or changed, or made with another key, or the SAS lacks a permission", ""},
	} {
		t.Run(name, func(t *testing.T) {
			o := &checkpointstore.BlobCheckpointStoreOptions{}
			o.ClientOptions.Transport = c.answer
			store, err := c.open(o)
			require.NoError(t, err)
			for _, call := range blobtest.Calls() {
				err := call(context.Background(), store)
				require.ErrorIs(t, err, checkpointstore.ErrNotAuthorized)
				require.NotErrorIs(t, err, checkpointstore.ErrNotFound)
				var e *checkpointstore.Error
				require.ErrorAs(t, err, &e)
				if e.Op == "ClaimOwnership" || e.Op == "ListOwnership" || !strings.Contains(c.says, "the service says") { // the answer to a HEAD has no body
					require.ErrorContains(t, err, c.says, e.Op)
				}
				if c.not != "" {
					require.NotContains(t, err.Error(), c.not)
				}
				requireNoSecret(t, err)
			}
		})
	}
}

// TestTheRightToReadIsNamed if it takes a read to tell whether a claim was won.
func TestTheRightToReadIsNamed(t *testing.T) {
	for what, lost := range map[string]faults.Fault{"a retry met its condition": faults.LoseResponse().Once(), "no answer": faults.LoseResponse().On(faults.OpIs(faults.PutBlob))} {
		t.Run(what, func(t *testing.T) {
			service := fake.New()
			service.Inject(lost)
			service.Inject(faults.Forbidden().On(faults.OpIs(faults.GetProperties)))
			_, err := blobtest.NewStore(t, service, nil).ClaimOwnership(context.Background(), blobtest.Claims(blobtest.Group, "a", 1), nil)
			require.ErrorIs(t, err, checkpointstore.ErrNotAuthorized)
			require.ErrorContains(t, err, "data action Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read (SAS: r)")
			require.NotContains(t, err.Error(), "ConditionNotMet")
			require.NotContains(t, err.Error(), "AlreadyExists")
		})
	}
	t.Run("the write is refused as well", func(t *testing.T) {
		service := fake.New()
		service.Inject(faults.Busy(0).Once())
		service.Inject(faults.Forbidden())
		_, err := blobtest.NewStore(t, service, nil).ClaimOwnership(context.Background(), blobtest.Claims(blobtest.Group, "a", 1), nil)
		require.ErrorIs(t, err, checkpointstore.ErrNotAuthorized)
		require.ErrorContains(t, err, "data action Microsoft.Storage/storageAccounts/blobServices/containers/blobs/write (SAS: w)")
	})
}

// page is the answer of something in between: without a code, and without the
// headers of the service.
func page(status int) faults.TransportFunc {
	return func(req *http.Request) (*http.Response, error) {
		return &http.Response{
			StatusCode: status, Request: req, Header: http.Header{"Content-Type": {"text/html"}, "Server": {"nginx"}},
			Body: io.NopCloser(strings.NewReader("<html>")),
		}, nil
	}
}

// TestAPageIsNoRecord: what is not there may be there, behind the proxy that says so.
func TestAPageIsNoRecord(t *testing.T) {
	for how, build := range builds(t) {
		for _, status := range []int{302, 400, 401, 403, 404, 407, 502} {
			store := build(page(status), nil, blobtest.QuickRetries(), 0)
			calls := blobtest.Calls()
			calls["a renewal"] = func(context.Context, *checkpointstore.BlobCheckpointStore) error {
				_, err := store.ClaimOwnership(context.Background(), []checkpointstore.Ownership{blobtest.Claim(blobtest.Group, "a", "0", blobtest.ETag(`"0x1"`))}, nil)
				return err
			}
			for name, call := range calls {
				err := call(context.Background(), store)
				require.Error(t, err, "%s, %s, %d", how, name, status)
				require.NotErrorIs(t, err, checkpointstore.ErrNotFound, name)
				require.ErrorContains(t, err, "something in between answered", name)
				require.Equal(t, status == 401 || status == 403, errors.Is(err, checkpointstore.ErrNotAuthorized), name)
			}
		}
	}
}

// TestABareNotFoundOfTheServiceIsNoRecord: it is known by its headers.
func TestABareNotFoundOfTheServiceIsNoRecord(t *testing.T) {
	for kept, stripped := range map[string]string{"x-ms-request-id": "x-ms-version", "x-ms-version": "x-ms-request-id"} {
		service := fake.New()
		bare := faults.Status(404, "")
		service.Inject(faults.WithoutHeaders(stripped))
		service.Inject(bare)
		_, err := blobtest.NewStore(t, service, nil).GetCheckpoint(context.Background(), blobtest.Namespace, blobtest.Hub, blobtest.Group, "0", nil)
		require.ErrorIs(t, err, checkpointstore.ErrNotFound, kept)
	}
}

// TestAResourceThatIsNotFound is no record, if the request had a credential.
func TestAResourceThatIsNotFound(t *testing.T) {
	for how, build := range builds(t) {
		store := build(refusalFrom(404, "ResourceNotFound", ""), token{}, blobtest.QuickRetries(), 0)
		_, err := store.GetCheckpoint(context.Background(), blobtest.Namespace, blobtest.Hub, blobtest.Group, "0", nil)
		require.ErrorIs(t, err, checkpointstore.ErrNotFound, how)
	}
}

// TestARecordThatIsNotThereOnAzurite: a HEAD request has no body to tell it from
// the answer of a proxy.
func TestARecordThatIsNotThereOnAzurite(t *testing.T) {
	store := blobtest.NewAzuriteStore(t)
	_, err := store.GetCheckpoint(context.Background(), blobtest.Namespace, blobtest.Hub, blobtest.Group, "0", nil)
	require.ErrorIs(t, err, checkpointstore.ErrNotFound)
	_, err = store.GetOwnership(context.Background(), blobtest.Namespace, blobtest.Hub, blobtest.Group, "0", nil)
	require.ErrorIs(t, err, checkpointstore.ErrNotFound)
}

// TestABareConflictIsLost: something in between may answer in place of the
// service; to lose a claim does no harm.
func TestABareConflictIsLost(t *testing.T) {
	for how, build := range builds(t) {
		for _, status := range []int{409, 412} {
			won, err := build(page(status), nil, blobtest.QuickRetries(), 0).ClaimOwnership(context.Background(), blobtest.Claims(blobtest.Group, "a", 1), nil)
			require.NoError(t, err, how)
			require.Empty(t, won, how)
		}
	}
}

// counted is a body that counts what is read of it.
type counted struct {
	io.Reader
	read *int
}

func (c counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	*c.read += n
	return n, err
}

// TestAHugePageIsNotRead: of an answer that is no list and no record, 64 KiB are
// looked at, and what is told of it is short.
func TestAHugePageIsNotRead(t *testing.T) {
	line := []byte("<div class='x'>https://proxy.example/blocked?key=abcdefgh sig token </div>\n")
	const size = 30 << 20
	read := 0
	o := &checkpointstore.BlobCheckpointStoreOptions{}
	o.ClientOptions.Transport = faults.TransportFunc(func(req *http.Request) (*http.Response, error) {
		body := io.LimitReader(&repeating{line, 0}, size)
		return &http.Response{StatusCode: 403, Request: req, Header: http.Header{}, ContentLength: -1, Body: io.NopCloser(counted{body, &read})}, nil
	})
	store, err := checkpointstore.NewBlobCheckpointStoreWithNoCredential(fake.New().URL(), o)
	require.NoError(t, err)
	for name, call := range blobtest.Calls() {
		read = 0
		err := call(context.Background(), store)
		require.ErrorIs(t, err, checkpointstore.ErrNotAuthorized, name)
		require.LessOrEqual(t, read, 128<<10, name)
		require.Less(t, len(err.Error()), 2048, name)
		var answer *azcore.ResponseError
		require.ErrorAs(t, err, &answer)
		require.Less(t, len(answer.Error()), 128<<10)
	}
}

// repeating is a text without an end.
type repeating struct {
	text []byte
	at   int
}

func (e *repeating) Read(p []byte) (int, error) {
	n := copy(p, bytes.Repeat(e.text, len(p)/len(e.text)+2)[e.at:])
	e.at = (e.at + n) % len(e.text)
	return n, nil
}
