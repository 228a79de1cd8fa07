package deploy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
	k8s "sigs.k8s.io/yaml"
)

// kinds are the objects that kubernetes.yaml may have.
var kinds = map[string]func() any{
	"v1 Namespace":                  func() any { return new(corev1.Namespace) },
	"v1 Secret":                     func() any { return new(corev1.Secret) },
	"v1 ConfigMap":                  func() any { return new(corev1.ConfigMap) },
	"v1 Service":                    func() any { return new(corev1.Service) },
	"apps/v1 Deployment":            func() any { return new(appsv1.Deployment) },
	"policy/v1 PodDisruptionBudget": func() any { return new(policyv1.PodDisruptionBudget) },
}

// TestKubernetes reads each object strictly: what the API does not know is an error,
// and so is what is there twice.
func TestKubernetes(t *testing.T) {
	var deployment appsv1.Deployment
	var service corev1.Service
	for _, doc := range documents(t, "../../deploy/kubernetes.yaml") {
		var head struct{ APIVersion, Kind string }
		if err := k8s.Unmarshal(doc, &head); err != nil {
			t.Fatal(err)
		}
		object, ok := kinds[head.APIVersion+" "+head.Kind]
		if !ok {
			t.Fatalf("a %s %s: is it checked?", head.APIVersion, head.Kind)
		}
		into := object()
		switch into.(type) {
		case *appsv1.Deployment:
			into = &deployment
		case *corev1.Service:
			into = &service
		}
		if err := k8s.UnmarshalStrict(doc, into); err != nil {
			t.Errorf("%s: %v", head.Kind, err)
		}
	}
	labels := deployment.Spec.Template.Labels
	for name, value := range service.Spec.Selector {
		if labels[name] != value {
			t.Errorf("the Service selects %s=%s, and the pods have %v", name, value, labels)
		}
	}
	checkFlags(t, deployment.Spec.Template.Spec.Containers[0].Args)
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
	cmd := exec.Command("go", "run", "./examples/cluster/replica", "-h")
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
			t.Errorf("the replica has no flag -%s:\n%s", name, help)
		}
	}
}
