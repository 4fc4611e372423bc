// The extension module: it registers each concept's functions, nothing else.
#include "bind.hpp"

PYBIND11_MODULE(_core, module) {
    module.doc() = "kptool's kernels; use kptool.heatmaps, which validates.";
    kptool::register_render(module);
    kptool::register_decode(module);
    kptool::register_parse(module);
}
