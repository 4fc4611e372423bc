#include "maxima.hpp"

#include <algorithm>
#include <array>
#include <iterator>
#include <vector>

#include "order.hpp"
#include "parallel.hpp"
#include "runs.hpp"
#include "top.hpp"

namespace kptool {
namespace {

constexpr std::size_t grain_bytes = std::size_t{256}
                                    << 10;  // below this, starting a thread costs more than it saves

std::size_t lowest_bit(unsigned bits) {
#if defined(__GNUC__)
    return static_cast<std::size_t>(__builtin_ctz(bits));
#else
    std::size_t place = 0;
    while ((bits >> place & 1u) == 0) ++place;
    return place;
#endif
}

// A flat top's first pixel in row-major order, or the only pixel of a peak.
struct Maximum {
    std::size_t first;
    double height;
};

// The search in one map after another; holds the buffers of one thread.
template <class T>
class Finder {
  public:
    Finder(std::size_t height, std::size_t width, const PeakSearch& search)
        : height_(static_cast<std::ptrdiff_t>(height)),
          width_(static_cast<std::ptrdiff_t>(width)),
          search_(search),
          least_(Order<T>::least(search.threshold)),
          locator_(search.method),
          runs_(height * width / run_length<T> + 1),
          state_(height * width, untouched) {}

    // Returns the number of peaks written.
    std::int64_t find(const T* data, float* coords, float* scores) {
        map_ = {data, height_, width_};
        found_.clear();
        const std::size_t count = state_.size();
        const Runs high = find_runs(data, count, least_, runs_.data());
        if (!high.finite || count == 1) return 0;  // a single pixel is a constant map
        for (std::size_t i = 0; i < high.count; ++i) {
            const std::size_t begin = runs_[i] * run_length<T>;
            visit_run(begin, std::min(begin + run_length<T>, count));
        }
        clear();
        return write(coords, scores);
    }

  private:
    using Key = typename Order<T>::Key;
    enum State : std::uint8_t { untouched, in_top, taken };

    Key key(std::size_t at) const { return Order<T>::key(map_.data[at]); }
    std::size_t index_of(Pixel p) const { return static_cast<std::size_t>(p.y * width_ + p.x); }
    Pixel pixel(std::size_t at) const {
        const auto index = static_cast<std::ptrdiff_t>(at);
        return {index % width_, index / width_};
    }

    // Looks closer only at pixels that are as high as those beside them: most are not.
    void visit_run(std::size_t begin, std::size_t end) {
        const auto width = static_cast<std::size_t>(width_);
        for (std::size_t row = begin / width * width; begin < end; row += width) {
            const std::size_t next = std::min(end, row + width);
            visit_line(begin, next, row);
            begin = next;
        }
    }

    // The pixels of a run that are in the row that begins at `row`.
    void visit_line(std::size_t begin, std::size_t end, std::size_t row) {
        const auto width = static_cast<std::size_t>(width_);
        const auto y = static_cast<std::ptrdiff_t>(row / width);
        const bool interior = row > 0 && row + width < state_.size();
        const std::size_t groups = interior ? (end - begin) / group_length : 0;
        const std::size_t rest = begin + groups * group_length;
        const auto look = [&](std::size_t here) {
            if (is_summit(here, row)) visit(here, {static_cast<std::ptrdiff_t>(here - row), y});
        };
        std::array<std::uint16_t, run_length<T> / group_length> marks;
        mark_summits(map_.data + begin, width, groups, least_, marks.data());
        // A pixel at the left or right border has been compared with one at the other.
        if (begin == row && groups > 0) look(begin);
        for (std::size_t group = 0; group < groups; ++group) {
            for (unsigned bits = marks[group]; bits != 0; bits &= bits - 1) {
                const std::size_t here = begin + group * group_length + lowest_bit(bits);
                if (here != row && here + 1 != row + width)
                    visit(here, {static_cast<std::ptrdiff_t>(here - row), y});
            }
        }
        if (rest == row + width && groups > 0) look(rest - 1);
        for (std::size_t here = rest; here < end; ++here) look(here);
    }

    // Whether a pixel is at least `least_` and as high as those beside, above and below it.
    bool is_summit(std::size_t here, std::size_t row) const {
        const auto width = static_cast<std::size_t>(width_);
        const Key height = key(here);
        return height >= least_ && (here == row || key(here - 1) <= height) &&
               (here + 1 == row + width || key(here + 1) <= height) &&
               (row == 0 || key(here - width) <= height) &&
               (row + width == state_.size() || key(here + width) <= height);
    }

    void visit(std::size_t here, Pixel p) {
        bool contested = false;  // another pixel nearby is as high
        if (state_[here] != untouched || !is_highest(p, 1, contested)) return;
        if (contested && has_equal_side(p)) {
            if (!is_top(here)) return;
        } else if (search_.distance > 1 && !is_highest(p, search_.distance, contested)) {
            return;
        }
        if (contested && !take(middle_of(p))) return;
        found_.push_back({here, map_.at(p.x, p.y)});
    }

    // Whether no pixel within `distance` of p is higher; sets `equals` if another is as high.
    bool is_highest(Pixel p, std::ptrdiff_t distance, bool& equals) const {
        const Key height = key(index_of(p));
        const std::ptrdiff_t x0 = std::max<std::ptrdiff_t>(p.x - distance, 0);
        const std::ptrdiff_t x1 = std::min(p.x + distance + 1, width_);
        const std::ptrdiff_t y0 = std::max<std::ptrdiff_t>(p.y - distance, 0);
        const std::ptrdiff_t y1 = std::min(p.y + distance + 1, height_);
        std::size_t same = 0;
        for (std::ptrdiff_t y = y0; y < y1; ++y) {
            const T* const line = map_.data + y * width_;
            bool higher = false;
            for (std::ptrdiff_t x = x0; x < x1; ++x) {
                const Key other = Order<T>::key(line[x]);
                higher |= other > height;
                same += other == height ? 1 : 0;
            }
            if (higher) return false;
        }
        equals |= same > 1;
        return true;
    }

    bool has_equal_side(Pixel p) const {
        const double height = map_.at(p.x, p.y);
        constexpr Pixel sides[] = {{1, 0}, {-1, 0}, {0, 1}, {0, -1}};
        return std::any_of(std::begin(sides), std::end(sides), [&](Pixel s) {
            return map_.holds(p.x + s.x, p.y + s.y) && map_.at(p.x + s.x, p.y + s.y) == height;
        });
    }

    // Whether the flat area that starts here has no higher pixel within the distance of any of its pixels,
    // and is not the whole map. Visits all its pixels, so that it is looked at once.
    bool is_top(std::size_t here) {
        const Key height = key(here);
        bool highest = true, unused = false;
        std::size_t count = 0;
        pending_.assign(1, here);
        mark(here, in_top);
        while (!pending_.empty()) {
            const std::size_t i = pending_.back();
            pending_.pop_back();
            ++count;
            const Pixel p = pixel(i);
            highest = highest && is_highest(p, search_.distance, unused);
            const auto go = [&](bool inside, std::size_t next) {
                if (!inside || state_[next] != untouched || key(next) != height) return;
                mark(next, in_top);
                pending_.push_back(next);
            };
            const auto row = static_cast<std::size_t>(width_);
            go(p.x + 1 < width_, i + 1);
            go(p.x > 0, i - 1);
            go(p.y + 1 < height_, i + row);
            go(p.y > 0, i - row);
        }
        return highest && count < state_.size();
    }

    Pixel middle_of(Pixel first) const { return find_top(map_, first).pixel; }

    // Takes a peak among equal ones, unless one within the distance is taken.
    bool take(Pixel p) {
        const std::ptrdiff_t d = search_.distance;
        for (std::ptrdiff_t y = std::max<std::ptrdiff_t>(p.y - d, 0); y < std::min(p.y + d + 1, height_);
             ++y) {
            for (std::ptrdiff_t x = std::max<std::ptrdiff_t>(p.x - d, 0); x < std::min(p.x + d + 1, width_);
                 ++x) {
                if (state_[index_of({x, y})] == taken) return false;
            }
        }
        mark(index_of(p), taken);
        return true;
    }

    void mark(std::size_t here, State state) {
        if (state_[here] == untouched) touched_.push_back(here);
        state_[here] = state;
    }

    void clear() {
        for (const std::size_t i : touched_) state_[i] = untouched;
        touched_.clear();
    }

    std::int64_t write(float* coords, float* scores) {
        const std::size_t count = std::min(found_.size(), search_.most);
        const auto higher = [](const Maximum& a, const Maximum& b) {
            return a.height > b.height || (a.height == b.height && a.first < b.first);
        };
        std::partial_sort(found_.begin(), found_.begin() + static_cast<std::ptrdiff_t>(count), found_.end(),
                          higher);
        for (std::size_t i = 0; i < count; ++i) {
            locator_.locate(map_, pixel(found_[i].first), coords + 2 * i);
            scores[i] = static_cast<float>(found_[i].height);
        }
        locator_.finish();
        return static_cast<std::int64_t>(count);
    }

    std::ptrdiff_t height_, width_;
    const PeakSearch& search_;
    Key least_;
    Locator<T> locator_;
    Map<T> map_ = {};
    std::vector<std::uint32_t> runs_;  // runs of pixels that hold one of the threshold or more
    std::vector<std::uint8_t> state_;
    std::vector<std::size_t> pending_, touched_;
    std::vector<Maximum> found_;
};

}  // namespace

template <class T>
void find_peaks(View<const T, 4> maps, const PeakSearch& search, float* coords, float* scores,
                std::int64_t* counts) {
    const std::size_t area = maps.template stride<2>();
    const std::size_t grain = grain_bytes / (area * sizeof(T)) + 1;
    parallel_for(maps.shape[0] * maps.shape[1], search.threads, grain,
                 [&](std::size_t begin, std::size_t end) {
                     Finder<T> finder(maps.shape[2], maps.shape[3], search);
                     for (std::size_t i = begin; i < end; ++i) {
                         const std::size_t place = i * search.most;
                         counts[i] = finder.find(maps.data + i * area, coords + 2 * place, scores + place);
                     }
                 });
}

template void find_peaks(View<const float, 4>, const PeakSearch&, float*, float*, std::int64_t*);
template void find_peaks(View<const Half, 4>, const PeakSearch&, float*, float*, std::int64_t*);
template void find_peaks(View<const std::uint8_t, 4>, const PeakSearch&, float*, float*, std::int64_t*);

}  // namespace kptool
