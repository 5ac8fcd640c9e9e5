package addc

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// able says why no controller can be started here, with ErrAbsent.
func able() error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("addc: %w: it takes root, for namespaces and Samba's databases", ErrAbsent)
	}
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			return fmt.Errorf("addc: %w: %s is not installed; run scripts/setup.sh samba", ErrAbsent, p)
		}
	}
	return nil
}

// A space is a set of namespaces with its first process. That process ends when
// its standard input does, so when we close it or die, and the kernel then ends
// everything else in the space.
type space struct {
	cmd   *exec.Cmd
	alive io.Closer
}

// spaces are those this process started; attached domains have none.
type spaces struct{ all []space }

// newSpace makes namespaces in which /etc/hosts and /etc/resolv.conf are the
// lab's and /run/samba is empty: winbindd's socket path is compiled in.
//
// The space has its own host name, which is in its hosts file: the tools look
// themselves up.
func newSpace(dir, name string) (space, error) {
	// With SIGCHLD ignored the kernel buries the processes that lose their parent. A
	// shell catches it whatever it is told, and its read then ends before its input.
	script := `set -e
mount --make-rprivate /
mount -t proc proc /proc
mkdir -p /run/samba
mount -t tmpfs tmpfs /run/samba
mount --bind "$0/hosts" /etc/hosts
mount --bind "$0/resolv.conf" /etc/resolv.conf
ip link set lo up
echo "$1" > /proc/sys/kernel/hostname
echo ready
exec env --ignore-signal=CHLD cat >/dev/null`
	c := exec.Command("sh", "-c", script, dir, name)
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWUTS}
	in, err := c.StdinPipe()
	if err != nil {
		return space{}, err
	}
	out, err := c.StdoutPipe()
	if err != nil {
		return space{}, err
	}
	var said strings.Builder
	c.Stderr = &said
	if err := c.Start(); err != nil {
		if errors.Is(err, syscall.EPERM) {
			return space{}, fmt.Errorf("%w: the kernel gives no namespaces: %w", ErrAbsent, err)
		}
		return space{}, err
	}
	s := space{cmd: c, alive: in}
	if line, _ := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		s.end()
		return space{}, fmt.Errorf("%w: the namespaces could not be furnished: %s", ErrAbsent, strings.TrimSpace(said.String()))
	}
	return s, nil
}

// end ends every process of the space.
func (s space) end() {
	s.alive.Close()
	_ = s.cmd.Wait() // its exit status says nothing
}

// network makes the workstation and the controllers' spaces on one bridge, which
// stands in the workstation, and the link from there to this machine. The name of
// our end reserves the subnet: of 198.18.0.0/15, which RFC 2544 keeps for tests.
func (d *Domain) network(ctx context.Context, dcs int) error {
	for n := range dcs {
		name := fmt.Sprintf("dc%d", n+1)
		d.Controllers = append(d.Controllers, &DC{Name: name, Host: name + "." + d.Name, Dir: filepath.Join(d.Dir, name)})
	}
	for _, f := range []string{"hosts", "resolv.conf"} { // filled in when the addresses are known
		if err := os.WriteFile(filepath.Join(d.Dir, f), nil, 0o644); err != nil {
			return err
		}
	}
	station, err := d.space("station")
	if err != nil {
		return err
	}
	d.Station = station
	net, err := d.uplink(ctx)
	if err != nil {
		return err
	}
	if _, err := d.in(ctx, station, "sh", "-c", "ip link add br0 type bridge && ip link set up0 master br0 && ip link set up0 up && ip addr add "+net(9)+"/24 dev br0 && ip link set br0 up"); err != nil {
		return err
	}
	hosts, resolv := "127.0.0.1 localhost station\n", "search "+d.Name+"\n"
	for n, c := range d.Controllers {
		if c.PID, err = d.space(c.Name); err != nil {
			return err
		}
		c.Addr = net(n + 2)
		hosts += fmt.Sprintf("%s %s %s\n", c.Addr, c.Host, c.Name)
		resolv += "nameserver " + c.Addr + "\n"
		port := fmt.Sprintf("p%d", n+1)
		if _, err := d.in(ctx, station, "ip", "link", "add", port, "type", "veth", "peer", "name", "eth1"); err != nil {
			return err
		}
		// The peer is moved by a process that sees both: this one's, by process id.
		if _, err := output(exec.CommandContext(ctx, "nsenter", "-t", fmt.Sprint(station), "-n", "ip", "link", "set", "eth1", "netns", fmt.Sprint(c.PID))); err != nil {
			return err
		}
		if _, err := d.in(ctx, station, "sh", "-c", "ip link set "+port+" master br0 && ip link set "+port+" up"); err != nil {
			return err
		}
		if _, err := d.in(ctx, c.PID, "sh", "-c", "ip addr add "+c.Addr+"/24 dev eth1 && ip link set eth1 up"); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(d.Dir, "hosts"), []byte(hosts), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(d.Dir, "resolv.conf"), []byte(resolv), 0o644)
}

// uplink makes our link and returns the addresses of its subnet by their last part.
func (d *Domain) uplink(ctx context.Context) (func(host int) string, error) {
	var last error
	for n := range 250 {
		name := fmt.Sprintf("addc%d", n)
		if _, last = output(exec.CommandContext(ctx, "ip", "link", "add", name, "type", "veth", "peer", "name", "up0", "netns", fmt.Sprint(d.Station))); last != nil {
			if strings.Contains(last.Error(), "File exists") {
				continue
			}
			return nil, last
		}
		d.Uplink = name
		net := func(host int) string { return netip.AddrFrom4([4]byte{198, 18, byte(n), byte(host)}).String() }
		if _, err := output(exec.CommandContext(ctx, "ip", "addr", "add", net(1)+"/24", "dev", name)); err != nil {
			return nil, err
		}
		_, err := output(exec.CommandContext(ctx, "ip", "link", "set", name, "up"))
		return net, err
	}
	return nil, last
}

func (d *Domain) space(name string) (pid int, err error) {
	s, err := newSpace(d.Dir, name)
	if err != nil {
		return 0, err
	}
	d.spaces.all = append(d.spaces.all, s)
	return s.cmd.Process.Pid, nil
}

// Close ends every process of the domain and removes its folder. A domain that
// was attached to is left alone.
func (d *Domain) Close() error {
	if len(d.spaces.all) == 0 {
		return nil
	}
	for _, s := range d.spaces.all {
		s.end()
	}
	d.spaces.all = nil
	d.waits.Wait()
	// The kernel takes the link away with the namespace at its other end, a little
	// later; without it the subnet is free at once.
	if d.Uplink != "" {
		_, _ = output(exec.Command("ip", "link", "del", d.Uplink))
	}
	return os.RemoveAll(d.Dir)
}

// share keeps others who attached from having the domain alone, or has it alone, until
// release is called. The lock is the kernel's and ends with its process too.
func (d *Domain) share(alone bool) (release func(), err error) {
	f, err := os.OpenFile(filepath.Join(d.Dir, "shared"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("addc: share the domain: %w", err)
	}
	how := syscall.LOCK_SH
	if alone {
		how = syscall.LOCK_EX
	}
	for {
		if err = syscall.Flock(int(f.Fd()), how); err != syscall.EINTR {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("addc: share the domain: %w", err), f.Close())
	}
	return func() { f.Close() }, nil
}

// in runs a program inside a space and returns what it printed.
func (d *Domain) in(ctx context.Context, pid int, name string, args ...string) (string, error) {
	return output(d.command(ctx, pid, name, args...))
}

// command prepares a program that runs inside a space.
func (d *Domain) command(ctx context.Context, pid int, name string, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, "nsenter", append([]string{"-t", fmt.Sprint(pid), "-m", "-n", "-p", "--", name}, args...)...)
	c.Env = append(os.Environ(), "LC_ALL=C", "LDAPTLS_CACERT="+d.CAFile, "KRB5_CONFIG="+d.Krb5, "PYTHONDONTWRITEBYTECODE=1",
		"TDB_NO_FSYNC=1") // nothing here outlives a crash of the machine anyway
	c.WaitDelay = 10 * time.Second // a tool that has ended may have left its output to another
	return c
}
