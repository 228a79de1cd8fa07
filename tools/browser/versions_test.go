package browser

// version is one that the server of the tests holds.
type version struct {
	path, version string
	files         map[string]string
}

const license = "MIT License\n\nPermission is hereby granted, free of charge, to any person obtaining a copy of this software"

var versions = []version{
	{"example.com/greet", "v1.0.0", map[string]string{
		"go.mod":   "module example.com/greet\n\ngo 1.24\n",
		"greet.go": "// Package greet says hello.\npackage greet\n\n// Hello greets by name.\nfunc Hello(name string) string {\n\treturn \"Hello, \" + name\n}\n",
		"LICENSE":  license,
	}},
	{"example.com/greet", "v1.1.0", map[string]string{
		"go.mod":        "module example.com/greet\n\ngo 1.26\n\nrequire (\n\texample.com/text v0.3.0\n\texample.com/words v1.2.0\n)\n\nretract v1.0.0 // greets nobody in particular\n",
		"greet.go":      "// Package greet says hello.\npackage greet\n\nimport \"example.com/text\"\n\n// Hello greets by name, and in time.\nfunc Hello(name string) string {\n\tif name == \"\" {\n\t\tname = \"world\"\n\t}\n\treturn text.Join(\"Hello,\", name)\n}\n",
		"greet_test.go": "package greet\n",
		"LICENSE":       license,
		"README.md": "# Greet\n\n[![build](https://ci.example/greet.svg)](https://ci.example)\n\nGreet says hello, in **many** languages and at the right time of the day.\n\n" +
			"```go\nfmt.Println(greet.Hello(\"Gopher\"))\n```\n\n## Languages\n\n| language | greeting |\n|---|---|\n| English | Hello |\n| Greek | Γειά σου |\n| Danish | Hej |\n\n" +
			"## Design\n\n- No dependency beside [text](https://example.com/text).\n- One function: see [the code](greet.go).\n- No allocation for short names.\n\n> A greeting costs nothing, and is worth a lot.\n",
	}},
	{"example.com/shop", "v1.4.0", map[string]string{
		"go.mod": "module example.com/shop\n\ngo 1.26\n\nrequire (\n\texample.com/greet v1.1.0\n\texample.com/text v0.3.0\n\texample.com/cart v0.9.2\n\texample.com/not/held/here v1.0.0\n\texample.com/prices/v3 v3.1.0\n\tcorp.example/billing/api v2.0.1+incompatible\n" +
			"\texample.com/storage-engine/with-a-long-name/of-several/elements v1.20.3\n\texample.com/mail v1.0.0\n\texample.com/log v1.0.0\n\texample.com/trace v1.0.0\n)\n",
		"shop.go": "package shop\n", "README.md": "# Shop\n\nSells what others make.\n", "LICENSE": license,
	}},
	{"example.com/cart", "v0.9.2", map[string]string{"go.mod": "module example.com/cart\n\nrequire (\n\texample.com/text v0.3.0\n\texample.com/prices/v3 v3.1.0\n\texample.com/rounding v1.1.0\n)\n"}},
	{"example.com/prices/v3", "v3.1.0", map[string]string{"go.mod": "module example.com/prices/v3\n\nrequire (\n\texample.com/rounding v1.1.0\n\texample.com/currencies v0.4.0\n)\n"}},
	{"example.com/rounding", "v1.1.0", map[string]string{"go.mod": "module example.com/rounding\n"}},
	{"corp.example/web/storefront", "v1.0.0", map[string]string{"go.mod": "module corp.example/web/storefront\n\nrequire example.com/shop v1.4.0\n"}},
	{"corp.example/web/back-office", "v1.3.0", map[string]string{"go.mod": "module corp.example/web/back-office\n\nrequire example.com/shop v1.4.0\n"}},
	{"example.com/text", "v0.3.0", map[string]string{"go.mod": "module example.com/text\n\ngo 1.26\n", "text.go": "package text\n", "README.md": "# Text\n"}},
	{"example.com/words", "v1.2.0", map[string]string{"go.mod": "// Deprecated: use example.com/text.\nmodule example.com/words\n", "words.go": "package words\n"}},
	{"corp.example/billing/api", "v2.0.1+incompatible", map[string]string{"api.go": "package api\n"}},
	{"corp.example/tools/a-rather-long-name-for-a-module/with/several/elements", "v0.0.0-20240102030405-abcdefabcdef", map[string]string{"go.mod": "module corp.example/tools/a-rather-long-name-for-a-module/with/several/elements\n\nrequire example.com/greet v1.1.0\n"}},
	{"example.com/left-pad", "v1.0.0", map[string]string{"go.mod": "module example.com/left-pad\n"}},
	{"example.com/evil", "v1.0.0", map[string]string{
		"go.mod":  "// Deprecated: <script>pwned=true</script><img src=x onerror=pwned=true>\nmodule example.com/evil\n",
		"evil.go": "package evil // </td></tr></table><script>pwned=true</script><img src=\"https://evil.example/x.png\" onerror=\"pwned=true\">\n" + "var x = \"" + long + "\"\n",
		"README.md": "<script>window.pwned=true</script>\n\n<img src=https://evil.example/pixel.png onerror=\"window.pwned=true\">\n\n![x](https://evil.example/pixel2.png)\n\n[click](javascript:window.pwned=true)\n\n" +
			"<iframe src=\"https://evil.example\"></iframe>\n\n<style>body{display:none}</style>\n\n<base href=\"https://evil.example/\">\n\n<meta http-equiv=\"refresh\" content=\"0;url=https://evil.example\">\n\n" +
			"<form action=\"https://evil.example\"><button>Log in</button></form>\n\n<svg onload=\"window.pwned=true\"><a xlink:href=\"javascript:pwned=true\">x</a></svg>\n\n<link rel=stylesheet href=https://evil.example/x.css>\n\n" +
			"</div></main><h1 id=main>Not the page</h1>\n\n# " + long + "\n\n`" + long + "`\n\n| " + long + " |\n|---|\n| " + long + " |\n\n[x](//evil.example) <https://evil.example/\"onmouseover=pwned=true>\n",
	}},
}

const long = "averyveryveryveryveryveryveryveryveryveryveryveryveryveryveryveryveryveryveryveryveryverylongword"
