package deploy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
	k8s "sigs.k8s.io/yaml"
)

// kinds are the objects that kubernetes.yaml and the chart may have.
var kinds = map[string]func() any{
	"v1 Namespace":                       func() any { return new(corev1.Namespace) },
	"v1 Secret":                          func() any { return new(corev1.Secret) },
	"v1 ConfigMap":                       func() any { return new(corev1.ConfigMap) },
	"v1 Service":                         func() any { return new(corev1.Service) },
	"apps/v1 Deployment":                 func() any { return new(appsv1.Deployment) },
	"policy/v1 PodDisruptionBudget":      func() any { return new(policyv1.PodDisruptionBudget) },
	"networking.k8s.io/v1 NetworkPolicy": func() any { return new(networkingv1.NetworkPolicy) },
	"networking.k8s.io/v1 Ingress":       func() any { return new(networkingv1.Ingress) },
}

// TestKubernetes reads each object strictly: what the API does not know is an error,
// and so is what is there twice.
func TestKubernetes(t *testing.T) {
	var deployment appsv1.Deployment
	var service corev1.Service
	var network networkingv1.NetworkPolicy
	for _, doc := range documents(t, "../../deploy/kubernetes.yaml") {
		switch o := decode(t, doc).(type) {
		case *appsv1.Deployment:
			deployment = *o
		case *corev1.Service:
			service = *o
		case *networkingv1.NetworkPolicy:
			network = *o
		}
	}
	labels := deployment.Spec.Template.Labels
	for name, value := range service.Spec.Selector {
		if labels[name] != value {
			t.Errorf("the Service selects %s=%s, and the pods have %v", name, value, labels)
		}
	}
	container := deployment.Spec.Template.Spec.Containers[0]
	checkFlags(t, container.Args)
	checkPrivacy(t, &container, labels, &network)
	checkRoom(t, &container, deployment.Spec.Template.Spec.Volumes)
}

// decode reads an object strictly, as the API server does.
func decode(t *testing.T, doc []byte) any {
	t.Helper()
	var head struct{ APIVersion, Kind string }
	if err := k8s.Unmarshal(doc, &head); err != nil {
		t.Fatalf("%v\n%s", err, doc)
	}
	object, ok := kinds[head.APIVersion+" "+head.Kind]
	if !ok {
		t.Fatalf("a %s %s: is it checked?", head.APIVersion, head.Kind)
	}
	into := object()
	if err := k8s.UnmarshalStrict(doc, into); err != nil {
		t.Errorf("%s: %v", head.Kind, err)
	}
	return into
}

// checkPrivacy wants /fills, which names private modules, out of reach of other pods.
func checkPrivacy(t *testing.T, container *corev1.Container, labels map[string]string, network *networkingv1.NetworkPolicy) {
	t.Helper()
	if host, _, err := net.SplitHostPort(flagValue(container.Args, "ops")); err != nil || !net.ParseIP(host).IsLoopback() {
		t.Errorf("-ops is %q, which other pods reach", flagValue(container.Args, "ops"))
	}
	for _, probe := range []*corev1.Probe{container.ReadinessProbe, container.LivenessProbe} {
		if probe.HTTPGet.Port.StrVal != "http" {
			t.Errorf("a probe asks port %v, where nobody answers it", probe.HTTPGet.Port)
		}
	}
	for name, value := range network.Spec.PodSelector.MatchLabels {
		if labels[name] != value {
			t.Errorf("the NetworkPolicy selects %s=%s, and the pods have %v", name, value, labels)
		}
	}
	if len(network.Spec.Ingress) != 1 || len(network.Spec.Ingress[0].Ports) != 1 || network.Spec.Ingress[0].Ports[0].Port.StrVal != "http" {
		t.Errorf("the NetworkPolicy lets in more than the serving port: %+v", network.Spec.Ingress)
	}
}

// checkRoom wants a volume for repositories that is larger than what is kept there: a
// pod whose volume is full is evicted.
func checkRoom(t *testing.T, container *corev1.Container, volumes []corev1.Volume) {
	t.Helper()
	const oneFetch = 4 << 30 // fetcher.Options.MaxFetchBytes
	kept, err := strconv.ParseInt(flagValue(container.Args, "max-cache-bytes"), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range volumes {
		if v.Name == "cache" {
			if room := v.EmptyDir.SizeLimit.Value(); room < kept+2*oneFetch {
				t.Errorf("the volume has %d bytes, and %d are kept there beside what two fetches receive", room, kept)
			}
			return
		}
	}
	t.Error("there is no volume named cache")
}

// flagValue returns what -name is set to among args.
func flagValue(args []string, name string) string {
	for _, arg := range args {
		if value, ok := strings.CutPrefix(arg, "-"+name+"="); ok {
			return value
		}
	}
	return ""
}

// An image is named by digest, or can be: then README.md says where to set the digest and
// how to look it up.
func TestImagesByDigest(t *testing.T) {
	readme, err := os.ReadFile("../../deploy/README.md")
	if err != nil {
		t.Fatal(err)
	}
	images := regexp.MustCompile(`(?m)^\s*(?:image:|FROM|ARG \w*IMAGE=)\s*(\S+)`)
	digest := regexp.MustCompile(`^(?:[\w.-]+/)*([\w-]+)(?:@sha256:[0-9a-f]{64})$`)
	variable := regexp.MustCompile(`^\$\{(\w+)(?::-([\w./-]+):[\w.-]+)?\}$`)
	for _, name := range []string{"compose.yaml", "kubernetes.yaml", "Dockerfile"} {
		text, err := os.ReadFile("../../deploy/" + name)
		if err != nil {
			t.Fatal(err)
		}
		found := images.FindAllStringSubmatch(string(text), -1)
		if len(found) == 0 {
			t.Errorf("%s names no image", name)
		}
		for _, m := range found {
			var want []string
			if parts := digest.FindStringSubmatch(m[1]); parts != nil {
				want = []string{"| `" + parts[1] + "` |", "docker push"}
			} else if parts := variable.FindStringSubmatch(m[1]); parts != nil && parts[2] != "" {
				want = []string{"| `" + parts[2] + "` |", "`" + parts[1] + "=" + parts[2] + ":", "imagetools inspect " + parts[2] + ":"}
			} else if parts != nil {
				want = []string{parts[1] + "="} // an ARG of the Dockerfile, which has its own line
			} else if name == "Dockerfile" && (m[1] == "scratch" || strings.Contains(m[0], "ARG ")) {
				if image, _, tagged := strings.Cut(m[1], ":"); tagged {
					want = []string{"| `" + image + "` |", "imagetools inspect " + m[1]}
				}
			} else {
				t.Errorf("%s: the image %s has no digest, and none can be set", name, m[1])
			}
			for _, text := range want {
				if !strings.Contains(string(readme), text) {
					t.Errorf("%s: the image %s: deploy/README.md lacks %q", name, m[1], text)
				}
			}
		}
	}
}

// documents splits a file of several objects.
func documents(t *testing.T, file string) (all [][]byte) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	reader := yaml.NewDocumentDecoder(io.NopCloser(bytes.NewReader(b)))
	for buf := make([]byte, len(b)+1); ; {
		n, err := reader.Read(buf)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, append([]byte(nil), buf[:n]...))
	}
}

// TestCompose loads the file as docker compose does, by its schema.
func TestCompose(t *testing.T) {
	o, err := cli.NewProjectOptions([]string{"../../deploy/compose.yaml"}, cli.WithEnv([]string{"ATHENS_UPSTREAM=off"}))
	if err != nil {
		t.Fatal(err)
	}
	project, err := o.LoadProject(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	proxy, err := project.GetService("proxy")
	if err != nil {
		t.Fatal(err)
	}
	checkFlags(t, proxy.Command)
}

// checkFlags sees to it that the program has the flags it is given.
func checkFlags(t *testing.T, args []string) {
	t.Helper()
	checkFlagsOf(t, "./examples/cluster/replica", args)
}

// checkFlagsOf is checkFlags for any program of the repository.
func checkFlagsOf(t *testing.T, program string, args []string) {
	t.Helper()
	cmd := exec.Command("go", "run", program, "-h")
	cmd.Dir, cmd.Env = "../..", append(os.Environ(), "GOWORK=")
	help, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, help)
	}
	known := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^  -([a-z-]+)`).FindAllStringSubmatch(string(help), -1) {
		known[m[1]] = true
	}
	if len(args) == 0 || len(known) == 0 {
		t.Fatalf("args %q, known %v", args, known)
	}
	for _, arg := range args {
		name, _, _ := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		if !known[name] {
			t.Errorf("%s has no flag -%s:\n%s", program, name, help)
		}
	}
}
