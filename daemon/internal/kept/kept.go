// SPDX-License-Identifier: Apache-2.0

// Package kept writes a few texts into one file and reads them back. They are what
// was applied last, for a start or a boot that finds the files damaged. After a
// power cut the file is whole or not there.
//
//	penstock snapshot 1
//	43 "/etc/penstock/penstock.toml"
//	...43 bytes...
//	crc32 89abcdef
//
// The sum covers all that is above it. It detects a page that the card has lost. It
// does not detect a change by somebody who may write the file: a caller must either
// trust the owner of the folder, or do with the texts only what that owner may do
// anyway.
//
// The alternative was a folder with a file for each text. It would be easier to
// look at, but it cannot be replaced in one step: a power cut would leave parts of
// two states.
package kept

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A File is a text and its name.
type File struct{ Name, Text string }

const (
	header  = "penstock snapshot 1\n"
	sumLine = "crc32 %08x\n"
	sumSize = len("crc32 89abcdef\n")
)

// errDamaged is all there is to say: nobody can mend such a file by hand.
var errDamaged = errors.New("is damaged, or of another version of penstock")

// Write has the file at path hold files, with the permissions given, unless it
// does so already: what is kept on a flash card is written only when it has
// changed. The folder must be there. A reader finds the old file or the new one,
// also after a power cut.
func Write(path string, files []File, perm os.FileMode) error {
	if holds(path, files) {
		return nil
	}
	temp := path + ".new"
	if err := os.Remove(temp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return err
	}
	err = errors.Join(encode(f, files), f.Sync())
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	return syncFolder(filepath.Dir(path))
}

// syncFolder makes a rename last.
func syncFolder(folder string) error {
	f, err := os.Open(folder)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// encode writes the format.
func encode(to io.Writer, files []File) error {
	sum := crc32.NewIEEE()
	w := bufio.NewWriter(io.MultiWriter(to, sum))
	w.WriteString(header) // the error of a Writer stays, Flush returns it
	for _, f := range files {
		fmt.Fprintf(w, "%d %s\n", len(f.Text), strconv.Quote(f.Name))
		w.WriteString(f.Text)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(to, sumLine, sum.Sum32())
	return err
}

// holds reports whether the file at path is what Write would write.
func holds(path string, files []File) bool {
	f, _, err := open(path)
	if err != nil {
		return false
	}
	defer f.Close() // read only: nothing to lose
	c := comparer{r: bufio.NewReader(f)}
	if encode(&c, files) != nil {
		return false
	}
	_, err = c.r.ReadByte()
	return errors.Is(err, io.EOF)
}

var errDiffers = errors.New("differs")

// A comparer is a Writer that takes only what the reader holds.
type comparer struct {
	r   *bufio.Reader
	buf [512]byte
}

func (c *comparer) Write(p []byte) (n int, err error) {
	for n < len(p) {
		part := c.buf[:min(len(c.buf), len(p)-n)]
		if _, err := io.ReadFull(c.r, part); err != nil || !bytes.Equal(part, p[n:n+len(part)]) {
			return n, errDiffers
		}
		n += len(part)
	}
	return n, nil
}

// open opens a regular file without waiting for one that is none, and without
// following a link: the folder may be one that programs of services write to.
func open(path string) (*os.File, os.FileInfo, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, nil, err
	}
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = &os.PathError{Op: "read", Path: path, Err: errors.New("is not a regular file")}
	}
	if err != nil {
		f.Close() // read only: nothing to lose
		return nil, nil, err
	}
	return f, fi, nil
}

// Read returns what the file at path holds, of at most limit bytes, and when
// that was written. The error is one of the file system, errors.Is with
// fs.ErrNotExist when nothing is kept, or says that the file is damaged.
func Read(path string, limit int) ([]File, time.Time, error) {
	f, fi, err := open(path)
	if err != nil {
		return nil, time.Time{}, err
	}
	defer f.Close() // read only: nothing to lose
	var text strings.Builder
	text.Grow(int(min(fi.Size(), int64(limit))) + 1)
	_, err = io.Copy(&text, io.LimitReader(f, int64(limit)+1))
	var files []File
	if err == nil && text.Len() > limit {
		err = fmt.Errorf("is larger than %d bytes", limit)
	} else if err == nil {
		files, err = decode(text.String())
	}
	if err != nil {
		return nil, time.Time{}, &os.PathError{Op: "read", Path: path, Err: err}
	}
	return files, fi.ModTime(), nil
}

// decode takes apart what encode writes.
func decode(text string) ([]File, error) {
	body, sum := text[:max(0, len(text)-sumSize)], text[max(0, len(text)-sumSize):]
	if sum != sumOf(body) {
		return nil, errDamaged
	}
	rest, ok := strings.CutPrefix(body, header)
	var files []File
	for ok && rest != "" {
		var f File
		if f, rest, ok = next(rest); ok {
			files = append(files, f)
		}
	}
	if !ok {
		return nil, errDamaged
	}
	return files, nil
}

// sumOf returns the last line for what is above it.
func sumOf(body string) string {
	sum := crc32.NewIEEE()
	_, _ = io.WriteString(sum, body) // a hash takes everything
	return fmt.Sprintf(sumLine, sum.Sum32())
}

// next cuts the first file off.
func next(text string) (f File, rest string, ok bool) {
	line, rest, found := strings.Cut(text, "\n")
	size, quoted, _ := strings.Cut(line, " ")
	n, err := strconv.Atoi(size)
	if !found || err != nil || n < 0 || n > len(rest) {
		return f, "", false
	}
	name, err := strconv.Unquote(quoted)
	return File{name, rest[:n]}, rest[n:], err == nil
}
