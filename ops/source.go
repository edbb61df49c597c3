package ops

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/lease"

	"github.com/ea947076/checkpointstore/internal/redact"
)

// Source is where another package keeps its checkpoints. [ContainerSource] and
// [FolderSource] return one. It is only read.
type Source interface {
	// Names returns the names of the blobs or files that begin with a prefix, sorted.
	Names(ctx context.Context, prefix string) ([]string, error)

	// Read returns one of them. If it was deleted since, errors.Is finds
	// fs.ErrNotExist in the error. If it has more than limit bytes, TooLarge is set and
	// Content is empty.
	Read(ctx context.Context, name string, limit int64) (SourceFile, error)
}

// SourceFile is one blob or file of a [Source].
type SourceFile struct {
	Content      []byte
	TooLarge     bool
	Metadata     map[string]string // the blob's metadata, with the keys in lower case
	Leased       bool              // somebody has a lease on the blob
	LastModified time.Time
	Time         time.Time // the source's clock when it was read
}

// ContainerSource returns a source that reads blobs of a container. Requests: one List
// Blobs for each 5,000 blobs with the prefix, and one Get Blob for each blob that is
// read.
func ContainerSource(client *container.Client) Source { return containerSource{client} }

type containerSource struct{ client *container.Client }

func (s containerSource) Names(ctx context.Context, prefix string) ([]string, error) {
	pager := s.client.NewListBlobsFlatPager(&container.ListBlobsFlatOptions{Prefix: &prefix})
	var names []string
	for pager.More() {
		page, err := pager.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("listing the blobs of the source: %w", redact.Secrets(nil).Error(err))
		}
		if page.Segment == nil {
			continue
		}
		for _, item := range page.Segment.BlobItems {
			if item.Name != nil {
				names = append(names, *item.Name)
			}
		}
	}
	return names, nil
}

func (s containerSource) Read(ctx context.Context, name string, limit int64) (SourceFile, error) {
	response, err := s.client.NewBlobClient(name).DownloadStream(ctx, nil)
	switch {
	case bloberror.HasCode(err, bloberror.BlobNotFound):
		return SourceFile{}, fmt.Errorf("reading blob %q of the source: %w", name, fs.ErrNotExist)
	case err != nil:
		return SourceFile{}, fmt.Errorf("reading blob %q of the source: %w", name, redact.Secrets(nil).Error(err))
	}
	defer response.Body.Close()
	file := SourceFile{Metadata: make(map[string]string)}
	if err := file.read(response.Body, limit); err != nil {
		return SourceFile{}, fmt.Errorf("reading blob %q of the source: %w", name, redact.Secrets(nil).Error(err))
	}
	for key, value := range response.Metadata {
		if value != nil {
			file.Metadata[strings.ToLower(key)] = *value
		}
	}
	file.Leased = response.LeaseState != nil && *response.LeaseState == lease.StateTypeLeased
	if response.LastModified != nil {
		file.LastModified = response.LastModified.UTC()
	}
	if response.Date != nil {
		file.Time = response.Date.UTC()
	}
	return file, nil
}

// FolderSource returns a source that reads the files of a folder, such as
// os.DirFS(path). It does not read subfolders.
func FolderSource(folder fs.FS) Source { return folderSource{folder} }

type folderSource struct{ fs.FS }

func (s folderSource) Names(_ context.Context, prefix string) ([]string, error) {
	entries, err := fs.ReadDir(s.FS, ".")
	if err != nil {
		return nil, fmt.Errorf("listing the files of the source: %w", err)
	}
	var names []string
	for _, entry := range entries {
		if entry.Type().IsRegular() && strings.HasPrefix(entry.Name(), prefix) {
			names = append(names, entry.Name())
		}
	}
	slices.Sort(names)
	return names, nil
}

func (s folderSource) Read(_ context.Context, name string, limit int64) (SourceFile, error) {
	file, err := s.Open(name)
	if err != nil {
		return SourceFile{}, fmt.Errorf("reading a file of the source: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return SourceFile{}, fmt.Errorf("reading a file of the source: %w", err)
	}
	found := SourceFile{LastModified: info.ModTime().UTC(), Time: time.Now().UTC()}
	if err := found.read(file, limit); err != nil {
		return SourceFile{}, fmt.Errorf("reading file %q of the source: %w", name, err)
	}
	return found, nil
}

// read reads the content, up to the limit.
func (f *SourceFile) read(r io.Reader, limit int64) error {
	content, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return err
	}
	if int64(len(content)) > limit {
		f.TooLarge = true
		return nil
	}
	f.Content = content
	return nil
}
