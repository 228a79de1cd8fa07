package deploy

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	k8s "sigs.k8s.io/yaml"
)

const chartFolder = "../../deploy/chart"

// likeFile are the values with which the chart says what kubernetes.yaml says.
func likeFile() map[string]any {
	return map[string]any{
		"image":        map[string]any{"digest": "sha256:" + strings.Repeat("0", 64)},
		"bucketSecret": "bucket",
		"private":      "*.corp.example.com",
		"trustedProxy": "10.0.0.0/8",
	}
}

// render returns the objects of the chart with values, as "helm install proxy" makes
// them.
func render(t *testing.T, values map[string]any) ([][]byte, error) {
	t.Helper()
	chart, err := loader.Load(chartFolder)
	if err != nil {
		t.Fatal(err)
	}
	all, err := chartutil.ToRenderValues(chart, values,
		chartutil.ReleaseOptions{Name: "proxy", Namespace: "athens", IsInstall: true}, nil)
	if err != nil {
		return nil, err
	}
	files, err := engine.Render(chart, all)
	if err != nil {
		return nil, err
	}
	var objects [][]byte
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if !strings.HasSuffix(name, ".yaml") {
			continue
		}
		for doc := range strings.SplitSeq(files[name], "\n---\n") {
			if strings.TrimSpace(doc) != "" {
				objects = append(objects, []byte(doc))
			}
		}
	}
	return objects, nil
}

// TestChart lints the chart, renders it with several values, and reads each object
// strictly.
func TestChart(t *testing.T) {
	more := likeFile()
	more["image"] = map[string]any{"digest": "sha256:" + strings.Repeat("1", 64), "pullSecrets": []any{"registry"}}
	more["rules"] = "private *.corp.example.com\nblock example.com/bad # \"quoted\": yes\n"
	more["extraArgs"] = []any{"-web=off", "-log-format=json"}
	more["ingress"] = map[string]any{"host": "go.example.com", "className": "nginx", "tlsSecret": "go-tls",
		"annotations": map[string]any{"nginx.ingress.kubernetes.io/proxy-buffering": "off"}}
	for name, values := range map[string]map[string]any{"as the file": likeFile(), "with everything": more} {
		t.Run(name, func(t *testing.T) {
			for _, m := range lint.All(chartFolder, values, "athens", true).Messages {
				if m.Severity > support.InfoSev {
					t.Errorf("lint: %v", m)
				}
			}
			objects, err := render(t, values)
			if err != nil {
				t.Fatal(err)
			}
			var deployment appsv1.Deployment
			var network networkingv1.NetworkPolicy
			var rules corev1.ConfigMap
			for _, doc := range objects {
				object := decode(t, doc)
				switch o := object.(type) {
				case *appsv1.Deployment:
					deployment = *o
				case *networkingv1.NetworkPolicy:
					network = *o
				case *corev1.ConfigMap:
					rules = *o
				case *networkingv1.Ingress:
					if o.Spec.Rules[0].Host != "go.example.com" || o.Spec.TLS[0].SecretName != "go-tls" {
						t.Errorf("the Ingress is %+v", o.Spec)
					}
				}
			}
			if want, _ := values["rules"].(string); rules.Data["rules"] != want {
				t.Errorf("the rules are %q, not %q", rules.Data["rules"], want)
			}
			container := deployment.Spec.Template.Spec.Containers[0]
			checkFlags(t, container.Args)
			checkPrivacy(t, &container, deployment.Spec.Template.Labels, &network)
			checkRoom(t, &container, deployment.Spec.Template.Spec.Volumes)
		})
	}
}

// TestChartIsTheFile compares the pods of the chart with those of kubernetes.yaml, so
// that neither gets ahead of the other.
func TestChartIsTheFile(t *testing.T) {
	objects, err := render(t, likeFile())
	if err != nil {
		t.Fatal(err)
	}
	var chart, file string
	for _, doc := range objects {
		if d, ok := decode(t, doc).(*appsv1.Deployment); ok {
			chart = podText(t, d)
		}
	}
	for _, doc := range documents(t, "../../deploy/kubernetes.yaml") {
		if d, ok := decode(t, doc).(*appsv1.Deployment); ok {
			file = podText(t, d)
		}
	}
	if chart != file {
		t.Errorf("the chart's pods:\n%s\nthose of kubernetes.yaml:\n%s", chart, file)
	}
}

// podText is what a Deployment runs, without what Helm must name differently.
func podText(t *testing.T, d *appsv1.Deployment) string {
	t.Helper()
	spec := d.Spec.Template.Spec
	spec.TopologySpreadConstraints[0].LabelSelector = nil
	spec.ServiceAccountName = ""
	spec.Containers[0].ImagePullPolicy = ""
	for i := range spec.Volumes {
		if m := spec.Volumes[i].ConfigMap; m != nil {
			m.Name = "rules"
		}
	}
	b, err := k8s.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// The values that the schema must refuse, each with a part of the message.
func TestChartRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		values map[string]any
		want   string
	}{
		"an image without a digest": {map[string]any{}, "digest"},
		"an unknown value":          {map[string]any{"image": likeFile()["image"], "replica": 3}, "replica"},
		"a folder as bucket":        {map[string]any{"image": likeFile()["image"], "bucket": "/srv/modules"}, "bucket"},
		"no proxy at all":           {map[string]any{"image": likeFile()["image"], "replicas": 0}, "replicas"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := render(t, c.values); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("the error is %v, and should name %q", err, c.want)
			}
		})
	}
}
